# What a node needs of the kernel, tried in namespaces like its own. Arguments: a
# folder, a cgroup. The last line that is said is what was refused.
set -eu
dir=$1 cgroup=$2
trying() { step=$*; }
trap 'status=$?; [ $status = 0 ] || echo "refused: $step"; exit $status' EXIT

trying mounts
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs run /run
trying an overlay, as images are unpacked into
mkdir -p "$dir"/{lower,upper,work,rootfs}
mount -t overlay overlay -o "lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" "$dir/rootfs"
umount "$dir/rootfs"
trying a bridge, and a pair of devices, as Pods have
ip link set lo up
ip link add name probe0 type bridge
ip link add probe1 type veth peer name probe2
ip link set probe1 master probe0
echo 1 >/proc/sys/net/ipv4/ip_forward
trying the rules of Services
iptables -t nat -A PREROUTING -p tcp -d 192.0.2.1 --dport 80 -m comment --comment probe \
	-m statistic --mode random --probability 0.5 -j DNAT --to-destination 192.0.2.2:80
iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
trying a container
mount --rbind / "$dir/rootfs"
cat >"$dir/config.json" <<JSON
{
  "ociVersion": "1.0.2",
  "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", ":"], "cwd": "/", "env": ["PATH=/bin:/usr/bin"], "noNewPrivileges": true},
  "root": {"path": "$dir/rootfs", "readonly": true},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
  "linux": {
    "cgroupsPath": "$cgroup/probe",
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
    "resources": {"memory": {"limit": 67108864}, "cpu": {"shares": 100}},
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}
  }
}
JSON
runc --root "$dir/runc" run --bundle "$dir" probe </dev/null
