package wireguard

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// maxTrains is how many messages one call takes at most.
const maxTrains = 32

// maxCalls is how often it is received in a row while more is there.
const maxCalls = 64

// inbox receives several messages in one system call, as long as they come
// singly. From a peer whose datagrams come in trains it takes one at a time: a
// train is work enough, and its buffer is still in the cache then. It is for
// one goroutine.
type inbox struct {
	raw    syscall.RawConn
	take   func(fd uintptr) (done bool) // receives, for raw.Read
	handle func([]train)                // gets what was received

	// What the next call may fill; of messages, those behind the first get
	// their buffers when they are first needed.
	want     int
	messages [maxTrains]multiMessage
	names    [maxTrains]unix.RawSockaddrInet6 // or Inet4
	vectors  [maxTrains]unix.Iovec
	controls []byte

	moderator moderator

	// What the last call gave.
	err    error
	trains [maxTrains]train

	zoneIndex uint32 // of the last link-local source
	zoneName  string
}

// multiMessage is struct mmsghdr of recvmmsg(2).
type multiMessage struct {
	header unix.Msghdr
	length uint32
}

func newInbox(raw syscall.RawConn) *inbox {
	in := &inbox{raw: raw, want: 1, controls: make([]byte, maxTrains*controlSize)}
	in.take = in.drain
	in.provide(0)
	return in
}

// provide gives the i-th message its buffer.
func (in *inbox) provide(i int) {
	buf := make([]byte, largeBuffer)
	in.trains[i].buf = buf
	in.vectors[i].Base = &buf[0]
	in.vectors[i].SetLen(len(buf))
	h := &in.messages[i].header
	h.Name = (*byte)(unsafe.Pointer(&in.names[i]))
	h.Control = &in.controls[i*controlSize]
	h.Iov = &in.vectors[i]
	h.SetIovlen(1)
	in.vacate(i)
}

// vacate makes the i-th message ready to be filled.
func (in *inbox) vacate(i int) {
	h := &in.messages[i].header
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(controlSize)
}

// serve hands what arrives to handle until the socket fails or is closed, and
// returns why.
//
// It all happens inside of raw.Read, so that after a call that emptied the
// socket's queue it can wait at once, without another that only finds it empty:
// raw.Read forgets that the socket became readable when it begins, and not
// between two calls of its function, so what arrives meanwhile ends the wait.
func (in *inbox) serve(handle func([]train)) error {
	in.handle = handle
	for in.err == nil {
		if err := in.raw.Read(in.take); err != nil {
			return err
		}
	}
	return in.err
}

// drain receives until the socket's queue is empty and it is better to wait
// than to rest, or until there is an error. It is done after maxCalls as well:
// raw.Read sees that the socket was closed only when it begins or waits.
func (in *inbox) drain(fd uintptr) (done bool) {
	for range maxCalls {
		asked := in.want
		for i := range asked {
			if in.trains[i].buf == nil {
				in.provide(i)
			}
		}
		got, errno := in.receive(fd, asked)
		switch errno {
		case 0:
			in.pass(got)
			in.moderator.got(got)
			if got == asked {
				continue
			}
			// An error may have ended the call early as well. The kernel keeps
			// it for the next, which is made when the next datagram comes.
		case unix.EAGAIN:
		case unix.EINTR:
			continue
		default:
			in.err = errno
			return true
		}
		if !in.moderator.rests(time.Now()) {
			return false
		}
		in.moderator.rested(rest())
	}
	return true
}

// receive makes the system call. It does not wait, so the runtime is not told:
// that would wake its monitor, a thread which costs a process that was idle
// more than all else here.
func (in *inbox) receive(fd uintptr, want int) (got int, errno syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.messages[0])), uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// pass hands on the first n messages and decides how many may come next.
func (in *inbox) pass(n int) {
	in.want = maxTrains
	for i := range n {
		in.read(i)
		in.vacate(i)
		if len(in.trains[i].datagrams) > in.trains[i].stride {
			in.want = 1
		}
	}
	in.handle(in.trains[:n])
}

// read reads what is said beside the i-th message.
func (in *inbox) read(i int) {
	m, t := &in.messages[i], &in.trains[i]
	t.datagrams = t.buf[:m.length]
	t.stride = max(len(t.datagrams), 1)
	t.from = engine.Endpoint{Addr: in.source(i)}
	oob := in.controls[i*controlSize:][:m.header.Controllen]
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			if size := int(binary.NativeEndian.Uint32(data)); size > 0 {
				t.stride = size
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			t.from.Source = netip.AddrFrom4([4]byte(data[4:8]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			t.from.Source = netip.AddrFrom16([16]byte(data[:16]))
		}
	}
}

// source is the address that the i-th message came from.
func (in *inbox) source(i int) netip.AddrPort {
	name := &in.names[i]
	port := (*[2]byte)(unsafe.Pointer(&name.Port)) // at the same place in both
	addr := netip.AddrFrom16(name.Addr)
	switch {
	case name.Family == unix.AF_INET:
		addr = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case name.Scope_id != 0:
		if name.Scope_id != in.zoneIndex {
			in.zoneIndex, in.zoneName = name.Scope_id, zoneOf(name.Scope_id)
		}
		addr = addr.WithZone(in.zoneName)
	}
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(port[:]))
}
