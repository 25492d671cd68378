"""The script that lies on the host while a guard is armed, and puts back what was there.

It is run by the timer, by hand, or early at the next boot (``revert boot``: then nothing runs yet
that would have to be put right). It may be run again after it was cut off at any point.
"""

from __future__ import annotations

REVERT = r"""main() {
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
  LC_ALL=C; export LC_ALL
  lib=/var/lib/strata; G=$lib/guard; R=/run/strata-guard; mode=$1
  boot=/etc/systemd/system/strata-guard-boot.service
  wants=/etc/systemd/system/sysinit.target.wants
  cd $G || exit 0
  if [ -e armed ]; then mv armed reverting || exit 0; fi
  if [ -e reverting ] && [ ! -e reverted ]; then
    exec 2>>log
    [ ! -s $R/pid ] || [ -e $R/status ] || kill -9 "-$(cat $R/pid)"
    files
    [ ! -d /run/systemd/system ] || units
    [ "$mode" = boot ] || { mounts; settings; network; rules; plain_sshd; }
    : >reverted
  elif [ "$mode" != boot ]; then exit 0; fi
  [ ! -e reverting ] || { cat nonce; head -n 20 log 2>/dev/null; } >$lib/reverted
  rm -f $boot $wants/${boot##*/}; sync
  cd /; rm -rf $G $R $lib/guard.lock
  [ "$mode" = boot ] || [ ! -d /run/systemd/system ] || systemctl stop strata-guard.timer
}

files() {
  while IFS= read -r p; do
    [ ! -e "/$p" ] || ( cd / && find "$p" -xdev ! -type s )
  done <roots >now
  while IFS= read -r p; do rm -rf -- "/$p"; done <absent
  awk 'NR == FNR { was[$0]; next } !($0 in was)' trees now | sort -r | while IFS= read -r p; do
    if [ -d "/$p" ] && [ ! -L "/$p" ]; then rmdir -- "/$p"; else rm -f -- "/$p"; fi
  done
  [ ! -e files.tar ] || tar -C / --numeric-owner -xf files.tar
  sync
}

settings() {
  while read -r p v; do
    [ -e "/proc/sys/$p" ] || continue
    [ "$(cat "/proc/sys/$p")" = "$v" ] || printf '%s\n' "$v" >"/proc/sys/$p"
  done <settings
}

mounts() {
  while IFS= read -r p; do ! grep -q " $p " /proc/mounts || umount -l "$p"; done <mounts
}

control() {
  if command -v timeout >/dev/null; then timeout 30 systemctl "$@"; else systemctl "$@"; fi
}

# A unit of the firewall is left to run: loading the rules again is done below, for all of them.
units() {
  [ -e units ] || return 0
  control daemon-reload
  now=; [ "$mode" != boot ] || now=--no-block
  kept=$(cat kept)
  for n in $(netdevs); do ip link delete "$n" 2>/dev/null; done
  # at once: a socket that is left for a moment would start its service again
  gone=$(sed -n 's/ \(inactive\|deactivating\|failed\)$//p' units)
  [ -z "$gone" ] || control $now stop $gone
  while read -r u was; do
    case $was in
      active|activating|reloading) verb=restart ;;
      *) continue ;;
    esac
    case " $kept " in *" $u "*) verb=start ;; esac
    case $u in
      systemd-networkd.socket) verb=start ;;
      # a socket is not opened anew while its service runs
      *.socket) [ "$mode" = boot ] || control stop "${u%.socket}.service" ;;
    esac
    [ "$mode" != boot ] || verb=start
    control reset-failed "$u"; control $now $verb "$u"
  done <units
}

# Virtual interfaces that are there only since: systemd-networkd never takes any away.
netdevs() {
  [ -e links ] && [ "$mode" != boot ] || return 0
  for p in $(cat now); do
    case $p in etc/systemd/network/05-strata-*.netdev) n=${p##*/05-strata-}; n=${n%.netdev}
      grep -q "^[0-9]*: $n[:@]" links || echo "$n" ;;
    esac
  done
}

network() {
  [ -e links ] && command -v ip >/dev/null || return 0
  while read -r number name flags rest; do
    name=${name%:}; name=${name%@*}
    [ "$name" != lo ] && [ -e "/sys/class/net/$name" ] || continue
    case $rest in
      *" master "*) m=${rest#* master }; ip link set "$name" master "${m%% *}" ;;
      *) [ ! -e "/sys/class/net/$name/master" ] || ip link set "$name" nomaster ;;
    esac
    case $flags in *[\<,]UP[,\>]*) ip link set "$name" up ;; esac
    addresses "$name"
  done <links
  routes 4; routes 6
}

addresses() {
  sed -n "s/^[0-9]*: $1  *\(inet6* [^ ]*\) \(.*\)scope global.*/\1 \2/p" addresses >addr.was
  ip -o addr show dev "$1" | sed -n 's/^[0-9]*: [^ ]* *\(inet6* [^ ]*\) .*scope global.*/\1/p' |
    while read -r family address; do
      grep -q "^$family $address " addr.was || ip addr del "$address" dev "$1"
    done
  while read -r family address more; do
    case $more in brd*) more=${more%% scope*} ;; *) more= ;; esac
    ip -o addr show dev "$1" | grep -qF " $address " || ip addr add "$address" $more dev "$1"
  done <addr.was
}

routes() {
  [ -s routes$1 ] || return 0
  sed -e '/proto kernel/d' -e 's/ expires [0-9]*sec//; s/ linkdown//; s/ dead//; s/  *$//' \
    routes$1 >routes.was
  ip -$1 route show | sed -e '/proto kernel/d' \
    -e 's/ expires [0-9]*sec//; s/ linkdown//; s/ dead//; s/  *$//' |
    while IFS= read -r l; do grep -qxF -- "$l" routes.was || ip -$1 route del $l; done
  while IFS= read -r l; do ip -$1 route replace $l; done <routes.was
}

# One transaction: at no time are there no rules.
rules() {
  if [ -e rules ]; then
    nft list ruleset | awk '/^# Warning: table .* is managed by iptables/ { skip = 1; next }
      /^table / { hide = skip; skip = 0; if (hide) next
      sub(/ *\{.*/, ""); print "delete " $0 }' >rules.put
    cat rules >>rules.put
    nft -f rules.put || nft -f /etc/nftables.conf || nft flush ruleset
  fi
  for v in '' 6; do
    [ -e iptables$v ] || continue
    if grep -q '^:' iptables$v; then ip${v}tables-restore <iptables$v
    elif ip${v}tables-save 2>/dev/null | grep -q '^:'; then
      for t in filter nat mangle raw; do ip${v}tables -t $t -F; ip${v}tables -t $t -X; done
      for c in INPUT FORWARD OUTPUT; do ip${v}tables -P $c ACCEPT; done
    fi
  done
}

plain_sshd() {
  [ -d /run/systemd/system ] || [ ! -s /run/sshd.pid ] || kill -HUP "$(cat /run/sshd.pid)"
}

main "$@"
exit
"""
