#!/bin/bash
# Prepare the lab once, on a Debian machine as root: about 30 s and 450 MB in $LAB_HOME. Again does no harm, also beside a lab
# that is in use. `setup.sh gluster` prepares the lab on GlusterFS as well: 25 s and 340 MB more.
#
# What is there afterwards, and what it is for:
#   linux, umlshim.so   the user-mode kernel that is a guest's machine, and what it needs on new CPUs
#   rootfs/             the guests' system: Python 3.11, NFS server and client; they all share it, read-only
#   packages/           what queuectl needs, for the guests' Python
#   rootfs-gluster/     the system of the hosts of a GlusterFS; clockshim.so gives them clocks of their own
#   ready, ready-gluster  come last: whoever sees it may start
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${LAB_HOME:-${TMPDIR:-/tmp}/queuectl-lab}
python=${PYTHON:-python3}
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1

mkdir -p "$home"
cd "$home"
# Two who prepare it at once: the second waits, and finds everything there.
exec 9> lock
flock 9

missing() { ! command -v "$1" > /dev/null; }
if missing mmdebstrap || missing gcc || missing ip || missing mke2fs; then
    apt-get update -q
    apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends mmdebstrap gcc libc6-dev iproute2 e2fsprogs
fi

if [ ! -x linux ]; then
    rm -rf unpacked && mkdir -p unpacked
    apt-get -o APT::Sandbox::User=root download -q user-mode-linux
    dpkg -x user-mode-linux_*.deb unpacked
    rm user-mode-linux_*.deb
    mv unpacked/usr/bin/linux.uml linux
fi
gcc -O2 -shared -fPIC -o umlshim.so.new "$here/umlshim.c"
mv umlshim.so.new umlshim.so

if [ ! -d rootfs/usr ]; then
    sources=$(find /etc/apt -name debian.sources -o -name sources.list | head -n 1)
    rm -rf rootfs.new
    mmdebstrap --quiet --variant=minbase \
        --include=python3-minimal,python3,nfs-common,nfs-kernel-server,iproute2,kmod,busybox-static,e2fsprogs,netbase,procps,rpcbind \
        bookworm rootfs.new "$sources"
    version=$(ls unpacked/usr/lib/uml/modules)
    mkdir -p rootfs.new/lib/modules
    cp -a "unpacked/usr/lib/uml/modules/$version" rootfs.new/lib/modules/
    chroot rootfs.new depmod "$version"
    mv rootfs.new rootfs
fi

# The guests' first program is that of whichever checkout boots them.
# (The kernel hands the words of its command line that it does not know to its first program, as variables.)
cat > rootfs/first <<'FIRST'
#!/bin/sh
mount -t tmpfs mnt /mnt
mkdir /mnt/host
mount -t hostfs -o ro none /mnt/host -o /
exec /usr/bin/python3 -u "/mnt/host$lab_init"
FIRST
chmod 755 rootfs/first

"$python" -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"], sep="\n")' \
    "$here/../../pyproject.toml" > packages.new.txt
if ! cmp -s packages.new.txt packages.txt || [ ! -d packages ]; then
    rm -rf packages.new packages.old
    "$python" -m pip install -q --root-user-action ignore --target packages.new -r packages.new.txt
    [ ! -d packages ] || mv packages packages.old
    mv packages.new packages
    mv packages.new.txt packages.txt
    rm -rf packages.old
fi
touch ready

if [ "${1:-}" = gluster ]; then
    if [ ! -d rootfs-gluster/usr ]; then
        rm -rf rootfs-gluster.new
        mmdebstrap --quiet --variant=minbase \
            --include=python3-minimal,python3,glusterfs-server,glusterfs-client,fuse3,iproute2,procps \
            bookworm rootfs-gluster.new "$(find /etc/apt -name debian.sources -o -name sources.list | head -n 1)"
        mv rootfs-gluster.new rootfs-gluster
    fi
    gcc -O2 -shared -fPIC -o clockshim.so.new "$here/clockshim.c"
    mv clockshim.so.new clockshim.so
    touch ready-gluster
fi
echo "the lab is ready in $home"
