#!/usr/bin/busybox sh
# The page. It reads, and never writes: looking at it changes nothing.
escape() { busybox sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g'; }
greeting=$(printf '%s' "${GREETING:-Hello}" | escape)
if [ -r /srv/start/note.txt ]; then
  note=$(busybox head -c 2000 /srv/start/note.txt | escape)
else
  note='Nothing yet. Write a line into /srv/start/note.txt on this host and reload: it lies on the durable disk, and outlives every rebuild.'
fi
printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
busybox cat <<PAGE
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>$greeting</title>
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <main>
    <h1>$greeting</h1>
    <p>This page came up by itself: from a persona in git, through five layers, to the
       container that answers you now.</p>
    <ol>
      <li><b>Runway</b> this machine was found fit</li>
      <li><b>Image</b> a Debian template was built</li>
      <li><b>Machine</b> it booted, with a disk of its own for what lasts</li>
      <li><b>System</b> users, packages, files and services as declared</li>
      <li><b>Workload</b> this page, deployed and healthy</li>
    </ol>
    <section>
      <h2>Kept on the durable disk</h2>
      <pre>$note</pre>
    </section>
  </main>
</body>
</html>
PAGE
