package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// The tables of TCP sockets, see proc_net_tcp.rst of the kernel's documentation. A socket for IPv6 can have a connection
// between IPv4 addresses, and is in the second one then.
const (
	tableTCP4 = "/proc/net/tcp"
	tableTCP6 = "/proc/net/tcp6"
)

// tellsUsers reports whether clientUID works here.
func tellsUsers() bool {
	f, err := os.Open(tableTCP4)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// clientUID is the user whose process is at the other end of a TCP connection on loopback.
func clientUID(c net.Conn) (int, error) {
	client, ok1 := c.RemoteAddr().(*net.TCPAddr)
	server, ok2 := c.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return 0, errors.New("not a TCP connection")
	}
	from, to := client.AddrPort(), server.AddrPort()
	if from.Addr().Unmap().Is4() {
		if uid, err := findSocket(tableTCP4, procAddress4(from), procAddress4(to)); err == nil {
			return uid, nil
		}
	}
	return findSocket(tableTCP6, procAddress6(from), procAddress6(to))
}

// findSocket is the user of the socket that connects two addresses, as a table has them.
func findSocket(table, local, remote string) (int, error) {
	f, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const localField, remoteField, uidField, inodeField = 1, 2, 7, 9
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inodeField || fields[localField] != local || fields[remoteField] != remote {
			continue
		}
		// A socket that no process has any more, and so no inode, says that it is root's.
		if fields[inodeField] == "0" {
			return 0, errors.New("its process has closed it")
		}
		return strconv.Atoi(fields[uidField])
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no such socket in %s", table)
}

// procAddress4 is an IPv4 address and port as the first table has them: a number of the machine's byte order.
func procAddress4(a netip.AddrPort) string {
	bytes := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(bytes[:]), a.Port())
}

// procAddress6 is an address and port as the second table has them: four such numbers.
func procAddress6(a netip.AddrPort) string {
	var text strings.Builder
	bytes := a.Addr().As16()
	for word := bytes[:]; len(word) > 0; word = word[4:] {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", text.String(), a.Port())
}
