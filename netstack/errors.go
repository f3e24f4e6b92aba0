package netstack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// errno is the error number that a Linux socket has for an error of the stack.
func errno(err tcpip.Error) syscall.Errno {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable, *tcpip.ErrNoNet:
		return syscall.ENETUNREACH
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrBadLocalAddress, *tcpip.ErrNoPortAvailable:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrAddressFamilyNotSupported:
		return syscall.EAFNOSUPPORT
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrDestinationRequired:
		return syscall.EDESTADDRREQ
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrUnknownProtocolOption:
		return syscall.ENOPROTOOPT
	}
	return syscall.EINVAL
}

// routeErrno is the error number for an error of Device.Route, and the
// stack's word for it.
func routeErrno(err error) (syscall.Errno, tcpip.Error) {
	if errors.Is(err, wireguard.ErrNoEndpoint) {
		return syscall.EHOSTUNREACH, &tcpip.ErrHostUnreachable{}
	}
	return syscall.ENETUNREACH, &tcpip.ErrNetworkUnreachable{}
}

// routeError is an error of Device.Route with the error number that goes with
// it, so that errors.Is finds both.
func routeError(dst netip.Addr, err error) error {
	number, _ := routeErrno(err)
	return fmt.Errorf("%v: %w: %w", dst, err, number)
}

// opError is what package net returns for an operation that failed. An error
// number gets the name of its system call. An end of file stays one.
func opError(op, network string, source, addr net.Addr, err error) error {
	call := op
	if op == "dial" {
		call = "connect"
	}
	switch number, ok := err.(syscall.Errno); {
	case err == nil || err == io.EOF:
		return err
	case ok:
		err = os.NewSyscallError(call, number)
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}

// noNames refuses a host name: only the resolver of the tunnel may see it.
func noNames(host string) error {
	return &net.DNSError{
		Err:  "names need DNS in the tunnel, and it has none: give DNS in its configuration, or use an IP address",
		Name: host,
	}
}
