package main

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// listenFlag is the value of -D: every use adds a listener.
type listenFlag []netip.AddrPort

func (l *listenFlag) addTo(cmd *cobra.Command, otherwise string) {
	cmd.Flags().VarP(l, "proxy", "D", "listen for SOCKS5 and HTTP here, on 127.0.0.1 if no host is given; can be repeated ("+otherwise+")")
	_ = cmd.RegisterFlagCompletionFunc("proxy", cobra.NoFileCompletions) // fails only for a flag that is not there
}

func (l *listenFlag) Type() string { return "[host:]port" }

func (l *listenFlag) String() string {
	var texts []string
	for _, address := range *l {
		texts = append(texts, address.String())
	}
	return strings.Join(texts, ",")
}

// Set adds a listener, as flags want it.
func (l *listenFlag) Set(s string) error {
	host, port := "127.0.0.1", s
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return errListen
		}
	}
	address, ok := listenAddress(host, port)
	if !ok {
		return errListen
	}
	*l = append(*l, address)
	return nil
}

var errListen = errors.New("this is not [host:]port; write it like 1080, 127.0.0.1:1080 or [::1]:1080")

// listenAddress is where to listen, in the words of ssh(1): no host or * are all addresses.
func listenAddress(host, port string) (netip.AddrPort, bool) {
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "", "*":
		host = "0.0.0.0"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), err == nil
}

// forwardFlag is the value of -L: every use adds a forward.
type forwardFlag []localForward

// localForward is a listener and where it leads.
type localForward struct {
	listen netip.AddrPort
	target string
}

func (f localForward) String() string { return f.listen.String() + ":" + f.target }

func (f *forwardFlag) addTo(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "forward", "L", "listen here, on 127.0.0.1 if no host is given, and carry each connection to host:port in the tunnel, as ssh -L does; can be repeated")
	_ = cmd.RegisterFlagCompletionFunc("forward", cobra.NoFileCompletions) // fails only for a flag that is not there
}

func (f *forwardFlag) Type() string { return "[host:]port:host:port" }

func (f *forwardFlag) String() string {
	var texts []string
	for _, forward := range *f {
		texts = append(texts, forward.String())
	}
	return strings.Join(texts, ",")
}

// Set adds a forward, as flags want it.
func (f *forwardFlag) Set(s string) error {
	parts, ok := splitColons(s)
	if ok && len(parts) == 3 {
		parts = append([]string{"127.0.0.1"}, parts...)
	}
	if !ok || len(parts) != 4 {
		return errForward
	}
	listen, ok := listenAddress(parts[0], parts[1])
	if !ok {
		return errForward
	}
	target, ok := targetAddress(parts[2], parts[3])
	if !ok {
		return errForward
	}
	*f = append(*f, localForward{listen, target})
	return nil
}

var errForward = errors.New("this is not [host:]port:host:port; write it like 5432:db.internal:5432 or [::1]:5432:[fd00::5]:5432")

// splitColons splits at the colons that are not in brackets, and takes the brackets away.
func splitColons(s string) (parts []string, ok bool) {
	for {
		var part string
		if rest, bracket := strings.CutPrefix(s, "["); bracket {
			if part, s, ok = strings.Cut(rest, "]"); !ok || s != "" && s[0] != ':' {
				return nil, false
			}
		} else {
			end := strings.IndexByte(s+":", ':')
			part, s = s[:end], s[end:]
		}
		parts = append(parts, part)
		if s == "" {
			return parts, true
		}
		s = s[1:]
	}
}

// targetAddress is where to go in a tunnel, as package config and netstack have it: an address or a name, and a port.
func targetAddress(host, port string) (string, bool) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), uint16(number)).String(), addr.Zone() == "" && !addr.IsUnspecified()
	}
	const longest = 253 // of a name, in text without the last dot: RFC 1035, section 2.3.4
	if host == "" || len(host) > longest || strings.Trim(host, nameCharacters) != "" {
		return "", false
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), true
}

const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
