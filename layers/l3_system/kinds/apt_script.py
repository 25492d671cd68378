"""The shell of :mod:`.apt`: waiting for locks, one transaction, finishing what was interrupted."""

from __future__ import annotations

# apt and dpkg lock with fcntl, and /proc/locks tells by inode who does.
READY = r"""set -- $(stat -c %i /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock \
  /var/lib/apt/lists/lock /var/cache/apt/archives/lock 2>/dev/null)
for i in "$@"; do
  while read -r _ kind _ _ pid where _; do
    [ "$kind" = POSIX ] && [ "${where##*:}" = "$i" ] || continue
    name=; unit=
    [ ! -r "/proc/$pid/comm" ] || read -r name <"/proc/$pid/comm"
    [ ! -r "/proc/$pid/cgroup" ] || read -r unit <"/proc/$pid/cgroup"
    case $unit in *.service) unit=" of ${unit##*/}" ;; *) unit= ;; esac
    echo "${name:-another program}$unit (process $pid)"; exit 0
  done </proc/locks
done"""

# What the programs say is kept in $said, so that only the last attempt is shown.
# Nobody is there to be asked, so packages are not searched for questions before they are unpacked:
# their own scripts come to the same answers. Where apt's hook is not Debian's own line, it stays.
# Nor is the order of unpacking packed away for whoever debugs apt's planner.
FUNCTIONS = r"""export DEBIAN_FRONTEND=noninteractive LC_ALL=C
[ -d $lib ] || mkdir -p -m 700 $lib
hooks=$(grep -his pre-install-pkgs /etc/apt/apt.conf /etc/apt/apt.conf.d/* || :)
conf='Dir::Log::Planner "/dev/null";'
case $hooks in 'DPkg::Pre-Install-Pkgs {"/usr/sbin/dpkg-preconfigure --apt || true";};')
  conf="$conf$nl#clear DPkg::Pre-Install-Pkgs;" ;;
esac
printf '%s\n' "$conf" >$lib/apt.conf
apt() {
  apt-get -c $lib/apt.conf -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    "$@" </dev/null
}
patient() {
  tries=0
  until said=$("$@" 2>&1 </dev/null); do
    case $said in *"ould not get lock"* | *"locked by another process"*) ;; *) return 1 ;; esac
    tries=$((tries + 1)); [ $tries -lt 300 ] || return 1; sleep 2
  done
}
configure() { patient dpkg --force-confdef --force-confold --configure -a; }
refresh() { if patient apt update; then touch $lib/lists; else news=$said; return 1; fi; }
why() {
  printf '%s\n' "$1"
  printf '%s\n' "$1" | awk '
    /^dpkg: error processing / { sub(/^dpkg: /, ""); a = $0; next }
    a != "" { sub(/^ +/, ""); print a " " $0; a = ""; d = 1; next }
    /^E: / && !(d && /Sub-process/) { print substr($0, 4); d = 1 }
    /^W: / { w = substr($0, 4) }
    END { if (!d) print w }' |
    awk '!($0 in seen) { seen[$0]; line = line sep $0; sep = "; " } END { print line }'
  exit 1
}"""

# apt goes through every package of every list several times, a second or two of a small machine's
# processor, whatever is installed. So it is first shown only what this installation can come to:
# what is installed, what was asked for, and everything that those may depend on. Where that does
# not suffice to find a way, nothing was done, and apt looks at everything, as ever (ADR 39).
NARROW = r"""needs() { # what the packages shown depend on; "?NAME" where a name is only provided
  awk -v asked="$*" '
    BEGIN { n = split(asked, w, " "); for (i = 1; i <= n; i++) lost[w[i]] }
    FILENAME != "-" { seen[$1]; next }
    /^Package: / { delete lost[$2] }
    /^(Pre-)?Depends: / {
      n = split(substr($0, index($0, " ")), w, /[,|]/)
      for (i = 1; i <= n; i++) {
        sub(/^ */, "", w[i]); sub(/[ :(].*/, "", w[i])
        if (!(w[i] in seen)) { seen[w[i]]; print w[i] }
      }
    }
    END { for (p in lost) print "?" p }' $box/names -
}
providers() {
  apt-cache showpkg -- "$@" 2>/dev/null | awk '
    FILENAME != "-" { seen[$1]; next }
    /^[A-Z][A-Za-z ]*:/ { on = /^Reverse Provides:/; next }
    on && !($1 in seen) { seen[$1]; print $1 }' $box/names -
}
narrow() {
  rm -rf $box; mkdir -p -m 700 $box/lists/partial || return 1
  set +f; set -- /var/lib/apt/lists/*_Packages*; set -f
  for f in "$@"; do case $f in *_Packages) ;; *) return 1 ;; esac; done
  awk '/^Package: / { p = $2 } /^Status: .* installed$/ { print p }' \
    /var/lib/dpkg/status >$box/names
  files=$*; set --
  for p in $come; do p=${p%%=*}; set -- "$@" "${p%%:*}"; done
  while [ $# != 0 ]; do
    printf '%s\n' "$@" >>$box/names
    found=$(apt-cache show -- "$@" 2>/dev/null | needs "$@"); set --; others=
    [ /var/cache/apt/pkgcache.bin -nt /var/lib/dpkg/status ] || return 1  # it reads all each time
    for p in $found; do
      case $p in \?*) others="$others ${p#?}" ;; *) set -- "$@" "$p" ;; esac
    done
    [ -z "$others" ] || {
      printf '%s\n' $others >>$box/names; set -- "$@" $(providers $others)
    }
  done
  for f in $files; do
    awk -v RS= -v ORS='\n\n' -v names=$box/names '
      FILENAME == names { for (i = 1; i <= NF; i++) show[$i]; next }
      $2 in show' $box/names "$f" >"$box/lists/${f##*/}" || return 1
  done
  set +f
  for f in /var/lib/apt/lists/*Release /var/lib/apt/lists/*Release.gpg; do
    [ ! -e "$f" ] || ln -s "$f" $box/lists/
  done
  set -f
}"""

# "Remv" lines of a simulation are what would really go; anything unasked for among them stops it.
TRANSACTION = r"""stale() {
  set -- /var/lib/apt/lists/*_Packages*; [ -e "$1" ] || return 0
  for f in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/sources.list.d/*; do
    [ "$f" -nt /var/lib/apt/lists ] || continue
    if [ ! -e $lib/lists ] || [ "$f" -nt $lib/lists ]; then return 0; fi
  done
  return 1
}
minus() { for p in "$@"; do printf '%s- ' "$p"; done; }
pick() {
  come=; down=
  for s in $wanted; do
    case $s in
      *=*[*?]*)
        offers=$(apt-cache madison "${s%%=*}" 2>/dev/null |
          while IFS='| ' read -r _ v _; do printf '%s ' "$v"; done)
        fits=
        for v in $offers; do case $v in ${s#*=}) fits=$v; break ;; esac; done
        if [ -z "$fits" ]; then
          said="E: No version of ${s%%=*} is like ${s#*=}; there are: ${offers:-none}"; return 1
        fi
        s=${s%%=*}=$fits; down=--allow-downgrades ;;
      *=*) down=--allow-downgrades ;;
    esac
    come="$come $s"
  done
}
simulate() { said=$(apt -s $down install -- $come $(minus "$@") 2>&1); }
unasked() {
  extra=
  for o in $(printf '%s\n' "$said" | sed -n 's/^Remv \([^ ]*\).*/\1/p'); do
    case " $go $fade " in *" $o "*) ;; *) extra="$extra $o" ;; esac
  done
  [ -n "$extra" ]
}
clean() { simulate "$@" && ! unasked; }
refuse() {
  said="$said
E: that would remove$extra too, which nobody asked for: declare what must go as absent"
  return 1
}
decide() {
  leave=$go; kept=
  [ -n "$go$fade" ] || return 0
  simulate $go || return 1
  if unasked; then refuse; return 1; fi
  if [ -z "$fade" ] || clean $go $fade; then leave="$go $fade"; return 0; fi
  for p in $fade; do
    if clean $leave "$p"; then leave="$leave $p"; else kept="$kept $p"; fi
  done
}
act() {
  [ -n "$come$leave" ] || return 0
  if [ -z "$go$fade" ] && narrow; then
    said=$(apt -o Dir::State::lists=$box/lists -o Dir::Cache::pkgcache= \
      -o Dir::Cache::srcpkgcache= $down --no-remove install -- $come 2>&1) && return 0
    case $said in *Sub-process* | *"o fetch "* | *" lock"*) return 1 ;; esac
  fi
  none=; [ -n "$go$fade" ] || none=--no-remove
  said=$(apt $down $none install -- $come $(minus $leave) 2>&1) && return 0
  case $said in *"remove is disabled"*) if simulate && unasked; then refuse; fi ;; esac
  return 1
}
attempt() { pick && decide && act; }
holds() {
  awk '/^Package: / { p = $2; h = 0 } /^Status: hold / { h = 1 }
    h && /^Architecture: / { print p; print p ":" $2 }' /var/lib/dpkg/status
}
transaction() {
  box=$lib/narrow; news=; touched=" $go $fade $hold $unhold"
  for s in $wanted; do touched="$touched ${s%%=*}"; done
  if stale; then old=1; else old=; fi
  set -- /var/lib/dpkg/updates/[0-9]*; [ ! -e "$1" ] || configure || why "$said"
  set -f; held=; again=
  for p in $(holds); do
    case "$touched " in *" $p "*) held="$held $p" ;; *) continue ;; esac
    case " $go $fade $unhold " in *" $p "*) ;; *) again="$again $p" ;; esac
  done
  [ -z "$held" ] || patient apt-mark unhold $held || why "$said"
  good=0
  if [ -z "$wanted$go$fade" ]; then kept=
  elif [ -n "$old" ]; then refresh || :; attempt || good=1
  elif ! attempt; then
    case $said in
      *Sub-process*dpkg*) good=1 ;;
      *) refresh || :; attempt || good=1 ;;
    esac
  fi
  rm -rf $box
  if [ $good = 1 ]; then
    [ -z "$held" ] || apt-mark hold $held >/dev/null || :
    why "$said
$news"
  fi
  [ -z "$again$hold" ] || patient apt-mark hold $again $hold || why "$said"
  [ -z "$kept" ] || apt-mark auto $kept >/dev/null
  [ -z "$purge" ] || { said=$(apt purge -- $purge 2>&1) || why "$said"; }
}"""

REPAIR = r"""broken() {
  awk -v want="$1" -v cut="$2" '
    /^Package: / { p = $2 }
    /^Status: / {
      b = $4 !~ /^(installed|config-files|not-installed)$/ && $2 ~ want
      if (cut && $3 != "reinstreq" && $4 != "half-installed") b = 0
    }
    /^Architecture: / { if (b) print p ($2 == "all" ? "" : ":" $2); b = 0 }
  ' /var/lib/dpkg/status
}
news=
configure || news=$said
gone=$(broken '^(deinstall|purge)$' '')
[ -z "$gone" ] || patient dpkg --remove $gone || why "$said"
cut=$(broken '^(install|hold)$' 1)
if [ -n "$cut" ]; then
  said=$(apt --no-remove --reinstall install -- $cut 2>&1) ||
    { refresh || :; said=$(apt --no-remove --reinstall install -- $cut 2>&1); } || why "$said
$news"
fi
said=$(apt --no-remove --fix-broken install 2>&1) || why "$said"
configure || why "$said" """
