#!/bin/sh
# A Docker engine of one's own, for tests: needs root, docker.io and iproute2, no init system.
#
#   engine.sh start FOLDER     when it answers: prints its address, unix://FOLDER/docker.sock
#   engine.sh stop FOLDER      with all its containers; nothing of it is left
#
# Its network is a bridge of its own, so that it and another engine never give the same address.
set -eu
verb=$1 folder=$2
export DOCKER_HOST="unix://$folder/docker.sock"
bridge=$folder/bridge

make_bridge() {
  number=1
  until ip link add "strata$number" type bridge 2> /dev/null; do # two engines race for a number
    number=$((number + 1))
    [ "$number" -lt 250 ] || { echo "no network device can be made here" >&2; exit 1; }
  done
  echo "strata$number" > "$bridge"
  ip address add "172.29.$number.1/24" dev "strata$number"
  ip link set "strata$number" up
}

start() {
  mkdir -p "$folder"
  make_bridge
  setsid dockerd --data-root "$folder/root" --exec-root "$folder/exec" --host "$DOCKER_HOST" \
    --pidfile "$folder/pid" --bridge "$(cat "$bridge")" > "$folder/dockerd.log" 2>&1 < /dev/null &
  tries=0
  until docker version > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 150 ] || { tail "$folder/dockerd.log" >&2; stop; exit 1; }
    sleep 0.1
  done
  echo "$DOCKER_HOST"
}

stop() {
  containers=$(docker ps --all --quiet 2> /dev/null || :)
  # shellcheck disable=SC2086
  [ -z "$containers" ] || docker rm --force --volumes $containers > /dev/null 2>&1 || :
  if [ -r "$folder/pid" ]; then
    read -r pid < "$folder/pid" || : # (it has no newline)
    kill "$pid" 2> /dev/null || :
    while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
  fi
  [ ! -r "$bridge" ] || ip link delete "$(cat "$bridge")" 2> /dev/null || :
  rm -rf "$folder"
}

"$verb"
