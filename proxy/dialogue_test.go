package proxy

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Messages of RFC 1928 that the tables are made of.
const (
	hello   = "\x05\x01\x00" // no login
	welcome = "\x05\x00"

	helloLogin = "\x05\x02\x00\x02" // no login or a password
	askLogin   = "\x05\x02"

	toV4     = "\x05\x01\x00\x01\xc6\x33\x64\x07\x00\x50" // 198.51.100.7:80
	success4 = "\x05\x00\x00\x01\xc0\x00\x02\x01\x12\x67" // bound to 192.0.2.1:4711, as every memConn
)

// failure is the reply with a code.
func failure(code byte) string {
	return string([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
}

// connectTo is a request for a name and port 443.
func connectTo(name string) string {
	return "\x05\x01\x00\x03" + string([]byte{byte(len(name))}) + name + "\x01\xbb"
}

// credentials are a message of RFC 1929.
func credentials(name, password string) string {
	return "\x01" + string([]byte{byte(len(name))}) + name + string([]byte{byte(len(password))}) + password
}

// turn is something that the client says and all that it hears then.
type turn struct{ send, want string }

// outcome is how a dialogue goes on.
type outcome int

const (
	closes outcome = iota // by the server, within a second
	relays                // to the target
	goesOn                // the client may speak
)

var (
	long253 = strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	long255 = strings.Repeat("b", 255)
	users   = Users{"ann": HashPassword("secret"), "\x00zoë": HashPassword("p\x00ß"), long255: HashPassword(long255)}
)

// dialogues has the rows of the SOCKS5 conformance table, by their ID.
var dialogues = []struct {
	name   string
	users  Users
	says   []turn
	then   outcome
	dialed string // the address that Dial was given
}{
	{name: "S1", says: []turn{{hello, welcome}}, then: goesOn},
	{name: "S2 no methods", says: []turn{{"\x05\x00", "\x05\xff"}}},
	{name: "S2 no acceptable method", says: []turn{{"\x05\x01\x02", "\x05\xff"}}},
	{name: "S3", users: users, says: []turn{{helloLogin, askLogin}}, then: goesOn},
	{name: "S3 no login offered", users: users, says: []turn{{hello, "\x05\xff"}}},
	{name: "S4", says: []turn{{"\x05\xff" + strings.Repeat("\x80", 254) + "\x00", welcome}}, then: goesOn},
	{name: "S4 login", users: users, says: []turn{{"\x05\xff" + strings.Repeat("\x80", 254) + "\x02", askLogin}}, then: goesOn},

	{name: "S5 SOCKS4", says: []turn{{"\x04\x01\x00\x50\xc6\x33\x64\x07\x00", ""}}},
	{name: "S5 HTTP", says: []turn{{"GET / HTTP/1.1\r\n\r\n", ""}}},
	{name: "S5 TLS", says: []turn{{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""}}},

	{name: "S6 right", users: users, says: []turn{{helloLogin, askLogin}, {credentials("ann", "secret"), "\x01\x00"}, {toV4, success4}}, then: relays, dialed: "198.51.100.7:80"},
	{name: "S6 NUL and UTF-8", users: users, says: []turn{{helloLogin, askLogin}, {credentials("\x00zoë", "p\x00ß"), "\x01\x00"}}, then: goesOn},
	{name: "S6 255 bytes each", users: users, says: []turn{{helloLogin, askLogin}, {credentials(long255, long255), "\x01\x00"}}, then: goesOn},
	{name: "S6 wrong password", users: users, says: []turn{{helloLogin, askLogin}, {credentials("ann", "secreT"), "\x01\x01"}}},
	{name: "S6 another's password", users: users, says: []turn{{helloLogin, askLogin}, {credentials("ann", long255), "\x01\x01"}}},
	{name: "S6 wrong name", users: users, says: []turn{{helloLogin, askLogin}, {credentials("anna", "secret"), "\x01\x01"}}},
	{name: "S6 no name", users: users, says: []turn{{helloLogin, askLogin}, {credentials("", "secret"), "\x01\x01"}}},
	{name: "S6 no password", users: users, says: []turn{{helloLogin, askLogin}, {credentials("ann", ""), "\x01\x01"}}},
	{name: "A8 name of an unknown tunnel", users: users, says: []turn{{helloLogin, askLogin}, {credentials("ann+nl", "secret"), "\x01\x01"}}},
	{name: "S7", users: users, says: []turn{{helloLogin, askLogin}, {"\x05" + credentials("ann", "secret")[1:], "\x01\x01"}}},

	{name: "S8 IPv4", says: []turn{{hello, welcome}, {toV4, success4}}, then: relays, dialed: "198.51.100.7:80"},
	{
		name: "S8 IPv6",
		says: []turn{{hello, welcome}, {"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff", success4}},
		then: relays, dialed: "[2001:db8::1]:65535",
	},
	{
		name: "S8 IPv4 mapped to IPv6",
		says: []turn{{hello, welcome}, {"\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc6\x33\x64\x07\x00\x50", success4}},
		then: relays, dialed: "198.51.100.7:80",
	},
	{name: "S8 name", says: []turn{{hello, welcome}, {connectTo("www.example.com"), success4}}, then: relays, dialed: "www.example.com:443"},

	{name: "S9 1 byte", says: []turn{{hello, welcome}, {connectTo("a"), success4}}, then: relays, dialed: "a:443"},
	{name: "S9 253 bytes", says: []turn{{hello, welcome}, {connectTo(long253), success4}}, then: relays, dialed: long253 + ":443"},
	{name: "S9 255 bytes", says: []turn{{hello, welcome}, {connectTo(long255), success4}}, then: relays, dialed: long255 + ":443"},
	{name: "S9 trailing dot", says: []turn{{hello, welcome}, {connectTo("example.com."), success4}}, then: relays, dialed: "example.com.:443"},
	{name: "S9 0 bytes", says: []turn{{hello, welcome}, {connectTo(""), failure(1)}}},
	{name: "S9 NUL", says: []turn{{hello, welcome}, {connectTo("example.com\x00.internal"), failure(1)}}},
	{name: "S9 space", says: []turn{{hello, welcome}, {connectTo("example.com 80"), failure(1)}}},
	{name: "S9 line end", says: []turn{{hello, welcome}, {connectTo("example.com\r\n"), failure(1)}}},
	{name: "S9 port in the name", says: []turn{{hello, welcome}, {connectTo("example.com:80"), failure(1)}}},
	{name: "S9 zone", says: []turn{{hello, welcome}, {connectTo("fe80::1%eth0"), failure(1)}}},
	{name: "S9 open bracket", says: []turn{{hello, welcome}, {connectTo("[::1"), failure(1)}}},
	{name: "S9 brackets around IPv4", says: []turn{{hello, welcome}, {connectTo("[127.0.0.1]"), failure(1)}}},
	{name: "S9 IPv4 text", says: []turn{{hello, welcome}, {connectTo("127.0.0.1"), success4}}, then: relays, dialed: "127.0.0.1:443"},
	{name: "S9 IPv6 text", says: []turn{{hello, welcome}, {connectTo("0:0::1"), success4}}, then: relays, dialed: "[::1]:443"},
	{name: "S9 IPv6 text in brackets", says: []turn{{hello, welcome}, {connectTo("[::1]"), success4}}, then: relays, dialed: "[::1]:443"},
	{name: "S9 mapped text", says: []turn{{hello, welcome}, {connectTo("::ffff:127.0.0.1"), success4}}, then: relays, dialed: "127.0.0.1:443"},
	{name: "S9 short IPv4 is a name", says: []turn{{hello, welcome}, {connectTo("127.1"), success4}}, then: relays, dialed: "127.1:443"},
	{name: "S9 hexadecimal IPv4 is a name", says: []turn{{hello, welcome}, {connectTo("0x7f000001"), success4}}, then: relays, dialed: "0x7f000001:443"},

	{name: "S10", says: []turn{{hello, welcome}, {toV4[:8] + "\x00\x00", failure(1)}}},
	{name: "S10 name", says: []turn{{hello, welcome}, {"\x05\x01\x00\x03\x01a\x00\x00", failure(1)}}},
	{name: "S11 command 00", says: []turn{{hello, welcome}, {"\x05\x00" + toV4[2:], failure(7)}}},
	{name: "S11 command 04", says: []turn{{hello, welcome}, {"\x05\x04" + toV4[2:], failure(7)}}},
	{name: "S11 command FF", says: []turn{{hello, welcome}, {"\x05\xff" + toV4[2:], failure(7)}}},
	{name: "S12 type 00", says: []turn{{hello, welcome}, {"\x05\x01\x00\x00" + toV4[4:], failure(8)}}},
	{name: "S12 type 02", says: []turn{{hello, welcome}, {"\x05\x01\x00\x02" + toV4[4:], failure(8)}}},
	{name: "S12 type 05", says: []turn{{hello, welcome}, {"\x05\x01\x00\x05" + toV4[4:], failure(8)}}},
	{name: "S13 version 4", says: []turn{{hello, welcome}, {"\x04" + toV4[1:], ""}}},
	{name: "S13 reserved byte", says: []turn{{hello, welcome}, {"\x05\x01\xff" + toV4[3:], success4}}, then: relays, dialed: "198.51.100.7:80"},
	{name: "S18 BIND", says: []turn{{hello, welcome}, {"\x05\x02" + toV4[2:], failure(7)}}},
	{name: "S19 ASSOCIATE is not served yet", says: []turn{{hello, welcome}, {"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", failure(7)}}},
}

// modes are the ways in which a client's bytes can arrive.
var modes = []struct {
	name string
	run  func(t *testing.T, c *memConn, says []turn)
}{
	{"one write", func(t *testing.T, c *memConn, says []turn) {
		for _, e := range says {
			send(c, e.send)
			expect(t, c, e.want)
		}
	}},
	{"byte by byte", func(t *testing.T, c *memConn, says []turn) {
		for _, e := range says {
			var writer sync.WaitGroup
			writer.Go(func() {
				for _, b := range []byte(e.send) {
					if _, err := c.Write([]byte{b}); err != nil {
						return // the server has seen enough
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
			expect(t, c, e.want)
			writer.Wait()
		}
	}},
	{"coalesced", func(t *testing.T, c *memConn, says []turn) {
		var all turn
		for _, e := range says {
			all.send += e.send
			all.want += e.want
		}
		send(c, all.send)
		expect(t, c, all.want)
	}},
}

func TestDialogues(t *testing.T) {
	for _, d := range dialogues {
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s/%s", d.name, mode.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var dialed []string
					s := serve(t, Config{
						Protocols: []Protocol{SOCKS5},
						Users:     d.users,
						Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
							dialed = append(dialed, network+" "+address)
							return echo(ctx, network, address)
						},
					})
					defer s.end(t)
					c := s.connect()
					defer c.Close()

					mode.run(t, c, d.says)
					switch d.then {
					case closes:
						expectEnd(t, c, time.Second)
					case relays:
						send(c, "ping")
						expect(t, c, "ping")
						_ = c.CloseWrite()
						expectEnd(t, c, time.Second)
					}

					var want []string
					if d.dialed != "" {
						want = []string{"tcp " + d.dialed}
					}
					if !slices.Equal(dialed, want) {
						t.Errorf("dialed %q, want %q", dialed, want)
					}
				})
			})
		}
	}
}

// TestBoundAddress is S8's other half: BND.ADDR has the type of the address.
func TestBoundAddress(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr net.Addr
		want string
	}{
		{"IPv4", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 258}, "\x05\x00\x00\x01\x0a\x00\x00\x02\x01\x02"},
		{"IPv6", &net.TCPAddr{IP: net.ParseIP("fd00::2"), Port: 258, Zone: "eth0"}, "\x05\x00\x00\x04\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x01\x02"},
		{"no address in it", &net.TCPAddr{}, failure(0)},
		{"not TCP", &net.UnixAddr{Name: "s", Net: "unix"}, failure(0)},
		{"none", nil, failure(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
					near, far := newMemPair()
					near.local = tt.addr
					return near, far.Close()
				}})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				send(c, hello+toV4)
				expect(t, c, welcome+tt.want)
			})
		})
	}
}
