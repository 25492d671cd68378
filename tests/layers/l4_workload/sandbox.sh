#!/bin/sh
# A throw-away host with a real engine inside: systemd, sshd, Docker and Compose v2 in a container
# of a private dockerd. Needs root, mmdebstrap and docker.io; nothing is left behind.
#
#   sandbox.sh start FOLDER SSH_PORT WEB_PORT     prints the host's ed25519 key when it is up
#   sandbox.sh run FOLDER COMMAND...              as root on the host
#   sandbox.sh stop FOLDER
set -eu
verb=$1 folder=$2
shift 2
export DOCKER_HOST="unix://$folder/docker.sock"

start() {
  ssh_port=$1 web_port=$2
  mkdir -p "$folder"
  ssh-keygen -q -t ed25519 -N '' -C sandbox -f "$folder/id"

  # The container gets a cgroup2 tree of its own, whatever this machine mounts.
  cat > "$folder/sandbox-init" <<'INIT'
#!/bin/sh
umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /sbin/init
INIT
  chmod 755 "$folder/sandbox-init"
  # Limits that a container may not raise would keep the units from starting.
  printf '[Service]\n%s=\n%s=\n%s=\n%s=\n%s=\n%s=\n' LimitNOFILE LimitNPROC LimitCORE \
    OOMScoreAdjust TasksMax ExecStartPre > "$folder/limits.conf"
  echo '{"storage-driver": "overlay2"}' > "$folder/daemon.json"

  mmdebstrap --quiet --variant=minbase \
    --include=systemd-sysv,dbus,openssh-server,sudo,docker.io,docker-cli,docker-compose,curl,iptables \
    --customize-hook="upload $folder/sandbox-init /sbin/sandbox-init" \
    --customize-hook='chmod 755 "$1/usr/sbin/sandbox-init"' \
    --customize-hook='chroot "$1" useradd --create-home --shell /bin/sh strata' \
    --customize-hook='mkdir -p "$1/home/strata/.ssh" "$1/etc/docker"' \
    --customize-hook="upload $folder/id.pub /home/strata/.ssh/authorized_keys" \
    --customize-hook='chroot "$1" chown -R strata: /home/strata' \
    --customize-hook='echo "strata ALL=(ALL) NOPASSWD: ALL" > "$1/etc/sudoers.d/strata"' \
    --customize-hook='for unit in docker containerd; do mkdir -p "$1/etc/systemd/system/$unit.service.d"; done' \
    --customize-hook="upload $folder/limits.conf /etc/systemd/system/docker.service.d/limits.conf" \
    --customize-hook="upload $folder/limits.conf /etc/systemd/system/containerd.service.d/limits.conf" \
    --customize-hook="upload $folder/daemon.json /etc/docker/daemon.json" \
    --customize-hook='chroot "$1" systemctl mask systemd-udevd console-getty getty@tty1 >/dev/null' \
    trixie "$folder/root.tar"

  dockerd --data-root "$folder/engine" --exec-root "$folder/exec" --host "$DOCKER_HOST" \
    --pidfile "$folder/docker.pid" --storage-driver overlay2 > "$folder/dockerd.log" 2>&1 &
  tries=0
  until docker version > /dev/null 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || { tail "$folder/dockerd.log" >&2; exit 1; }
    sleep 0.2
  done
  docker import --change 'CMD ["/sbin/sandbox-init"]' "$folder/root.tar" sandbox > /dev/null
  rm "$folder/root.tar"
  docker run --detach --tty --name sandbox --cgroupns private \
    --publish "127.0.0.1:$ssh_port:22" --publish "127.0.0.1:$web_port:8080" \
    --tmpfs /run --tmpfs /run/lock --tmpfs /tmp --volume inner:/var/lib/docker \
    --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined \
    --security-opt apparmor=unconfined --security-opt systempaths=unconfined sandbox > /dev/null
  tries=0
  until docker exec sandbox docker version > /dev/null 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || { docker logs sandbox >&2; exit 1; }
    sleep 0.2
  done
  docker exec sandbox cat /etc/ssh/ssh_host_ed25519_key.pub
}

stop() {
  docker rm --force --volumes sandbox > /dev/null 2>&1 || :
  if [ -r "$folder/docker.pid" ]; then
    read -r pid < "$folder/docker.pid" || :  # (it has no newline)
    kill "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
  fi
  rm -rf "$folder"
}

case $verb in
  start) start "$@" ;;
  run) exec docker exec sandbox "$@" ;;
  stop) stop ;;
esac
