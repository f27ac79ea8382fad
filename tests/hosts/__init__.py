"""Hosts of our own: user-mode Linux guests on this machine, with disks that lose their power and a network that can be cut.

`bash tests/hosts/setup.sh` prepares them once; `python -m tests.hosts.powercut --cuts 100` cuts the power of one under load;
a short piece of it is a test, test_lab. The lab itself is for other tests, too:

    with Lab() as lab:                                  # a serves NFS from its own disk, b and c are its clients
        lab.b.run("touch /mnt/nfs/x")
        lab.both("echo @ME@ >> /mnt/nfs/y")             # in b and c at once
        lab.a.kill()                                    # the server's power is cut
        lab.boot("a")
        lab.serve()                                     # and it is back
        lab.cut("c")                                    # c is off the network
        lab.heal("c")
        lab.c.set_skew(3600)                            # c's clock is an hour ahead

Traps: never let the halves of a test meet on the mount (what a client sees may be a minute old): use the driver. Rates
measured here size tests and are no benchmark.
"""
