package wireguard

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// maxTrains is how many messages one call takes at most.
const maxTrains = 32

// inbox receives several messages in one system call, as long as they come
// singly. From a peer whose datagrams come in trains it takes one at a time: a
// train is work enough, and its buffer is still in the cache then. It is for
// one goroutine.
type inbox struct {
	raw  syscall.RawConn
	take func(fd uintptr) (done bool) // receives, for raw.Read

	// What the next call may fill; of messages, those behind the first get
	// their buffers when they are first needed.
	want     int
	messages [maxTrains]multiMessage
	names    [maxTrains]unix.RawSockaddrInet6 // or Inet4
	vectors  [maxTrains]unix.Iovec
	controls []byte

	// What the last call gave.
	got    int
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
	in.take = in.receive
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
}

// next waits until there is something and returns what there is.
func (in *inbox) next() ([]train, error) {
	for i := range in.want {
		if in.trains[i].buf == nil {
			in.provide(i)
		}
		h := &in.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
	if err := in.raw.Read(in.take); err != nil {
		return nil, err
	}
	if in.err != nil {
		return nil, in.err
	}
	in.want = maxTrains
	trains := in.trains[:in.got]
	for i := range trains {
		in.read(i)
		if len(trains[i].datagrams) > trains[i].stride {
			in.want = 1
		}
	}
	return trains, nil
}

// receive makes the system call, if it need not wait.
func (in *inbox) receive(fd uintptr) (done bool) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.messages[0])), uintptr(in.want), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			in.got, in.err = int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			in.got, in.err = 0, errno
		}
		return true
	}
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
