# The first process of a node's namespaces. Arguments: the bridge, its address.
set -eu
read -r self _ </proc/self/stat # outside, where that /proc is from
mount --make-rprivate /
mount -t proc proc /proc
# Where programs have no option for their state's place: libcni, iptables, runc,
# kubelet's links to logs.
mount -t tmpfs run /run
mount -t tmpfs lib /var/lib
mount -t tmpfs log /var/log
ip link set lo up
ip link add name "$1" type bridge
ip address add "$2/24" dev "$1"
ip link set "$1" up
ip route add default dev "$1" # so that the addresses of Services have one; it leads nowhere else
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "ready $self"
# It inherits orphans, and bash reaps them.
while :; do
	sleep 3600 &
	wait $!
done
