// Package kernel gives integration tests the peer that defines the protocol:
// the WireGuard of the Linux kernel, in a virtual machine.
//
// Start with [Boot], which starts one machine, and [Machine.Peer], which adds
// a WireGuard interface to it, with a UDP port on 127.0.0.1 that leads to it.
// [Peer.Dump] says what the kernel saw, and [Machine.Exec] runs any command
// beside it.
//
// The machine is qemu without hardware support: it needs neither root nor
// /dev/kvm, runs on the user's network stack, and ends with the test. It needs
// an amd64 Debian with the package qemu-system-x86; what the guest is made of
// is downloaded by apt, once, and not installed. A test without them is
// skipped, or fails when the environment says CI=true.
//
// A machine without load costs next to nothing, and its interfaces do not
// disturb each other, so tests share one. It moves about 5 MB/s.
package kernel
