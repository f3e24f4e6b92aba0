package wireguard

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quickSend is the most bytes that are sent without telling the runtime. What is
// longer may keep the kernel busy for so long, as it often goes all the way to
// the receiver in the same call, that the processor is better lent to others.
const quickSend = smallBuffer

// outbox sends one message in a system call that the runtime is not told of, see
// inbox.receive. Several goroutines use it.
type outbox struct {
	raw  syscall.RawConn
	is6  bool
	free sync.Pool // of *parcel
}

// parcel is one call, with all that the kernel looks at meanwhile.
type parcel struct {
	send    func(fd uintptr) (done bool) // for raw.Write
	message multiMessage
	name    unix.RawSockaddrInet6 // or Inet4
	vector  unix.Iovec
	err     error
}

func newOutbox(raw syscall.RawConn, is6 bool) *outbox {
	o := &outbox{raw: raw, is6: is6}
	o.free.New = func() any {
		p := new(parcel)
		p.send = p.transmit
		p.message.header.Name = (*byte)(unsafe.Pointer(&p.name))
		p.message.header.Iov = &p.vector
		p.message.header.SetIovlen(1)
		return p
	}
	return o
}

// takes reports whether send is for this: an address whose zone has to be looked
// up first is not.
func (o *outbox) takes(b []byte, to netip.AddrPort) bool {
	return o != nil && len(b) > 0 && len(b) <= quickSend && to.Addr().Is6() == o.is6 && to.Addr().Zone() == ""
}

// send sends b, and waits for room in the socket's buffer.
func (o *outbox) send(b, oob []byte, to netip.AddrPort) error {
	p := o.free.Get().(*parcel)
	defer o.free.Put(p)
	p.address(to)
	p.vector.Base = &b[0]
	p.vector.SetLen(len(b))
	h := &p.message.header
	if h.Control = nil; len(oob) > 0 {
		h.Control = &oob[0]
	}
	h.SetControllen(len(oob))
	err := o.raw.Write(p.send)
	p.vector.Base, h.Control = nil, nil
	if err != nil {
		return err
	}
	return p.err
}

// address addresses the parcel.
func (p *parcel) address(to netip.AddrPort) {
	port := (*[2]byte)(unsafe.Pointer(&p.name.Port)) // at the same place in both
	binary.BigEndian.PutUint16(port[:], to.Port())
	h := &p.message.header
	if to.Addr().Is6() {
		p.name.Family, p.name.Addr = unix.AF_INET6, to.Addr().As16()
		h.Namelen = unix.SizeofSockaddrInet6
		return
	}
	name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.name))
	name.Family, name.Addr = unix.AF_INET, to.Addr().As4()
	h.Namelen = unix.SizeofSockaddrInet4
}

// transmit makes the system call: sendmmsg(2), as sendmsg(2) has no number of its
// own on some machines.
func (p *parcel) transmit(fd uintptr) (done bool) {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&p.message)), 1, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			p.err = nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			p.err = errno
		}
		return true
	}
}
