package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// templateTOML has a line to fill in each section: 5 and 9, and 10 for more.
const templateTOML = `[[tunnel]]
name = "work"
private_key = "{{private}}"
addresses = ["10.0.0.2/32"]
TUNNEL
[[tunnel.peer]]
public_key = "{{public}}"
allowed_ips = ["10.0.0.0/8"]
PEER
MORE
`

// withTOML is templateTOML with these lines.
func withTOML(tunnel, peer, more string) string {
	return strings.NewReplacer("TUNNEL", tunnel, "PEER", peer, "MORE", more).Replace(templateTOML)
}

// refusesTOML fails unless the text, filled with keys, is refused in these
// words and without a secret.
func refusesTOML(t *testing.T, text, want string) {
	t.Helper()
	keys := newKeyring(t)
	config, _, err := ParseTOML("wimble.toml", []byte(keys.fill(text)))
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("accepted, want %s", want)
		return
	}
	if e.Error() != want {
		t.Errorf("\ngot  %s\nwant %s", e, want)
	}
	if !reflect.ValueOf(config).IsZero() {
		t.Errorf("%s: half a configuration came with the error", want)
	}
	keys.checkSecret(t, e.Error())
}

func TestRefusedTunnelKey(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{`nmae = "x"`, `unknown key "nmae"; did you mean name?`},
		{`check_alive = "10.0.0.1"`, "unknown key \"check_alive\"; known here: import, name, private_key, private_key_file, addresses, dns, search, mtu, congestion_control, listen_port, peer"},
		{`"{{preshared}}" = 1`, "unknown key (not shown, it may be a key); known here: import, name, private_key, private_key_file, addresses, dns, search, mtu, congestion_control, listen_port, peer"},
		{`allowed_ips = ["10.0.0.0/8"]`, "allowed_ips does not belong here; move it to [[tunnel.peer]]"},
		{`uapi = true`, "uapi: this version of wimble does not have that yet; remove it"},
		{`import = ""`, "import: this text is empty; write one or remove the line"},
		{`import = "/nowhere/wg0.conf"`, `import: "/nowhere/wg0.conf": no such file or directory; check the path`},
		{`import = "testdata"`, `import: "testdata": this is a directory; name the file in it`},
		{`import = "/dev/null"`, `import: "/dev/null": this is not a regular file; name one, or a link to one`},
		{`private_key_file = "x"`, "private_key_file: line 3 gives private_key already; keep one of the two"},
		{`dns = ["corp.example"]`, `dns: "corp.example" is not an address; put search domains under search`},
		{`dns = ["10.0.0.1:53"]`, `dns: "10.0.0.1:53" is not the address of a name server; write it like 10.0.0.1 or fd00::1, without a port`},
		{`dns = "10.0.0.1"`, `dns: this is a text, and a list is needed; write it in brackets, like ["a", "b"]`},
		{`dns = [10]`, "dns: item 1 of the list is a number, and a text is needed; put it in quotes"},
		{`search = ["-.example"]`, `search: "-.example" is not a domain; write it like corp.example`},
		{`mtu = "1420"`, "mtu: this is a text, and a number is needed; write it without quotes"},
		{`mtu = 575`, `mtu: "575" is not a size from 576 to 65475 bytes; remove the line for the default`},
		{`mtu = [1420]`, "mtu: this is a list, and a number is needed; write it without quotes"},
		{`congestion_control = "bbr"`, `congestion_control: "bbr" is not a congestion control; write "auto", "cubic" or "reno"`},
		{`congestion_control = "Reno"`, `congestion_control: "Reno" is not a congestion control; write "auto", "cubic" or "reno"`},
		{`congestion_control = ""`, `congestion_control: "" is not a congestion control; write "auto", "cubic" or "reno"`},
		{`congestion_control = "{{private}}"`, `congestion_control: this value (not shown, it may be a key) is not a congestion control; write "auto", "cubic" or "reno"`},
		{`congestion_control = false`, "congestion_control: this is true or false, and a text is needed; put it in quotes"},
		{`listen_port = -1`, `listen_port: "-1" is not a port from 0 to 65535; 0 is any free port`},
		{`listen_port = true`, "listen_port: this is true or false, and a number is needed; write it without quotes"},
	} {
		refusesTOML(t, withTOML(test.line, "", ""), "wimble.toml:5: tunnel 1: "+test.want)
	}
}

func TestRefusedPeerKey(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{`preshared_keys = "x"`, `unknown key "preshared_keys"; did you mean preshared_key?`},
		{`AllowedIPs = ["11.0.0.0/8"]`, `unknown key "AllowedIPs"; did you mean allowed_ips?`},
		{`mtu = 1420`, "mtu does not belong here; move it to [[tunnel]]"},
		{`endpoint = "vpn.example.com"`, `endpoint: "vpn.example.com" has no port; write host:port; servers often listen on 51820`},
		{`endpoint = {host = "x"}`, "endpoint: this is a section, and a text is needed; put it in quotes"},
		{`preshared_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`, "preshared_key: this preshared key is all zero, which is none; remove the line if the peer has none either"},
		{`persistent_keepalive = -1`, `persistent_keepalive: -1s is not whole seconds from 0 to 65535; write "off", or "25s" to keep a NAT's mapping alive`},
		{`persistent_keepalive = 65536`, `persistent_keepalive: 18h12m16s is not whole seconds from 0 to 65535; write "off", or "25s" to keep a NAT's mapping alive`},
		{`persistent_keepalive = 9223372036854775807`, `persistent_keepalive: 9223372036854775807 seconds are too many; write it like "25s" or "1m30s"`},
		{`persistent_keepalive = "1500ms"`, `persistent_keepalive: 1.5s is not whole seconds from 0 to 65535; write "off", or "25s" to keep a NAT's mapping alive`},
		{`persistent_keepalive = "25"`, `persistent_keepalive: "25" is not a duration; write it like "25s" or "1m30s"`},
		{`persistent_keepalive = false`, `persistent_keepalive: this is true or false, and a duration is needed; write it like "25s"`},
	} {
		refusesTOML(t, withTOML("", test.line, ""), "wimble.toml:9: tunnel 1: peer 1: "+test.want)
	}
}

// TestRefusedAllowedIPs is C5, as far as it differs from wg-quick's files; a
// list of several lines has a place for each.
func TestRefusedAllowedIPs(t *testing.T) {
	const peer2 = "[[tunnel.peer]]\npublic_key = \"{{public2}}\"\nallowed_ips = [\n"
	for _, test := range []struct{ list, want string }{
		{"'11.0.0.0/8',\n'10.0.0.0/8']", "wimble.toml:14: tunnel 1: peer 2: allowed_ips: 10.0.0.0/8 is in the list of peer 1 already; leave it with the one peer that is to get the packets"},
		{"'11.0.0.0/8',\n'11.0.0.0/8']", "wimble.toml:14: tunnel 1: peer 2: allowed_ips: 11.0.0.0/8 is given twice; keep one"},
		{"'11.0.0.0/8',\n'10.1.2.3/8']", "wimble.toml:14: tunnel 1: peer 2: allowed_ips: 10.1.2.3/8 has bits set behind its length; write 10.0.0.0/8, or 10.1.2.3/32 for the one address"},
		{"'11.0.0.0/8',\n'-10.1.0.0/16']", `wimble.toml:14: tunnel 1: peer 2: allowed_ips: "-10.1.0.0/16" adds to or removes from the list of a running interface, and a file begins with none; write the whole list without + and -`},
	} {
		refusesTOML(t, withTOML("", "", peer2+test.list), test.want)
	}
}

func TestRefusedListener(t *testing.T) {
	const like = "write it like 127.0.0.1:1080, [::1]:1080, or 0.0.0.0:1080 for all addresses of this host"
	for _, test := range []struct{ lines, want string }{
		{"[[proxy]]", `10: proxy 1: no address to listen on is given; add one, like listen = "127.0.0.1:1080"`},
		{"[[proxy]]\nlisten = ':1080'", `11: proxy 1: listen: ":1080" is not an IP address with a port; ` + like},
		{"[[proxy]]\nlisten = '127.0.0.1'", `11: proxy 1: listen: "127.0.0.1" is not an IP address with a port; ` + like},
		{"[[proxy]]\nlisten = 'unix:/run/wimble/proxy.sock'", "11: proxy 1: listen: this version of wimble does not listen on unix sockets yet; " + like},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\n[[proxy]]\nlisten = '127.0.0.1:1'", "13: proxy 2: listen: proxy 1 listens on 127.0.0.1:1 already; choose another port"},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\nprotocols = []", "12: proxy 1: protocols: the list is empty; remove the line for both"},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\nprotocols = ['socks4']", `12: proxy 1: protocols: "socks4" is not a protocol of the proxy; write "socks5" or "http"`},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\nallow_clients = []", "12: proxy 1: allow_clients: the list is empty; write the networks whose clients may connect, or remove the line"},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\nallow_clients = ['127.0.0.1/8']", "12: proxy 1: allow_clients: 127.0.0.1/8 has bits set behind its length; write 127.0.0.0/8, or 127.0.0.1/32 for the one address"},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\ntunnel = 'wrok'", `12: proxy 1: tunnel: there is no tunnel "wrok"; did you mean work?`},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\ntunnel = 'home'", `12: proxy 1: tunnel: there is no tunnel "home"; there is work`},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\nusers_file = '/nowhere/users'", `12: proxy 1: users_file: "/nowhere/users": no such file or directory; check the path`},
		{"[[proxy]]\nlisten = '127.0.0.1:1'\ntarget = 'db:1'", "12: proxy 1: target does not belong here; move it to [[forward]]"},
		{"[[forward]]\nlisten = '127.0.0.1:1'", `10: forward 1: no target is given; add the address and port behind the tunnel, like target = "10.0.0.5:5432"`},
		{"[[forward]]\nlisten = '127.0.0.1:1'\ntarget = 'db'", `12: forward 1: target: "db" has no port; write it like db.internal:5432, 10.0.0.5:5432 or [fd00::5]:5432`},
		{"[[forward]]\nlisten = '127.0.0.1:1'\ntarget = '[fe80::1%eth0]:1'", `12: forward 1: target: "[fe80::1%eth0]:1" is no address of one host behind a tunnel; write it like db.internal:5432, 10.0.0.5:5432 or [fd00::5]:5432`},
		{"[[forward]]\nlisten = '127.0.0.1:1'\ntarget = '0.0.0.0:1'", `12: forward 1: target: "0.0.0.0:1" is no address of one host behind a tunnel; write it like db.internal:5432, 10.0.0.5:5432 or [fd00::5]:5432`},
		{"[[forward]]\nlisten = '127.0.0.1:1'\nprotocol = 'udp'", `12: forward 1: protocol: this version of wimble does not forward UDP yet; write "tcp" or remove the section`},
		{"[[forward]]\nlisten = '127.0.0.1:1'\nprotocol = 'sctp'", `12: forward 1: protocol: "sctp" is not a protocol to forward; write "tcp"`},
		{"[gateway]\nallow = ['192.168.0.0/16']", `11: gateway: allow: "192.168.0.0/16" has no ports; write it like 192.168.0.0/16:*, 10.0.0.5:443 or [fd00::/8]:8000-8100`},
		{"[gateway]\ntunnel = 'home'", `11: gateway: tunnel: there is no tunnel "home"; there is work`},
		{"[[gateway]]", "10: gateway: there can be only one of this section; write [gateway]"},
	} {
		refusesTOML(t, withTOML("", "", test.lines), "wimble.toml:"+test.want)
	}
}

// TestOpenListener is L2: who is not on this host needs a password, or to be
// named.
func TestOpenListener(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:1080", "[::]:1080", "192.0.2.7:1080", "[fe80::1%eth0]:1080"} {
		open := fmt.Sprintf("listen = %q\n", listen)
		const target = "target = '10.0.0.5:80'\n"
		place := "listen: others who reach " + listen + " could use the tunnel; listen on 127.0.0.1 or [::1], or say with "
		refusesTOML(t, withTOML("", "", "[[proxy]]\n"+open), "wimble.toml:11: proxy 1: "+place+"users_file or allow_clients who may connect")
		refusesTOML(t, withTOML("", "", "[[forward]]\n"+open+target), "wimble.toml:11: forward 1: "+place+"allow_clients who may connect")

		const clients = "allow_clients = ['192.0.2.0/24']\n"
		for _, lines := range []string{"[[proxy]]\n" + open + clients, "[[forward]]\n" + open + target + clients} {
			keys := newKeyring(t)
			if _, warnings, err := ParseTOML("wimble.toml", []byte(keys.fill(withTOML("", "", lines)))); err != nil || len(warnings) > 0 {
				t.Errorf("%s: %v %v", lines, warnings, err)
			}
		}
	}
}

// TestRefusedTOML has what is wrong with a file as a whole, between sections,
// or with the way in which it is written.
func TestRefusedTOML(t *testing.T) {
	whole := withTOML("", "", "")
	for _, test := range []struct{ text, want string }{
		{"", ": there is no [[tunnel]] section; is this the Wimble file?"},
		{"[[proxy]]\nlisten = '127.0.0.1:1'", ":1: proxy 1: there is no tunnel; add a [[tunnel]] section"},
		{"[[proxies]]", `:1: unknown section "proxies"; known here: tunnel, proxy, forward, gateway`},
		{"[[tunnels]]", `:1: unknown section "tunnels"; did you mean tunnel?`},
		{"[tunnel]", ":1: tunnel: there can be several of this section; write [[tunnel]]"},
		{"tunnel = 5", ":1: tunnel: this is a number, and a section is needed; write [[tunnel]]"},
		{"tunnel = ['x']", ":1: tunnel: this is a list, and a section is needed; write [[tunnel]]"},
		{"gateway = 'x'", ":1: gateway: this is a text, and a section is needed; write [gateway]"},
		{"import = 'wg0.conf'", ":1: import does not belong here; move it to [[tunnel]]"},
		{"[status]", ":1: status: this version of wimble does not have that yet; remove it"},
		{"[[dns.rule]]", ":1: dns: this version of wimble does not have that yet; remove it"},
		{"[[tunnel]\n", ":1: this section's name does not end with ]]; write it like [[tunnel]] or [gateway]"},
		{"[[tunnel]] [[tunnel]]", ":1: this line goes on where it should end; write one key on each line, and texts in quotes"},
		{"[[tunnel]]\nname", ":2: there is no = behind the name (not shown, it may be a key); write it like mtu = 1420, or begin a comment with #"},
		{"[[tunnel]]\n; a comment", ":2: there is no name of a key or section here (the line is not shown, it may be a key); write it like mtu = 1420, or begin a comment with #"},
		{"[[tunnel]]\nname = # x", ":2: there is no value; write one or remove the line"},
		{"[[tunnel]]\nname = work", `:2: this value is no whole number, nor true or false; put texts in quotes, like endpoint = "vpn.example.com:51820"`},
		{"[[tunnel]]\nmtu = 1.5", `:2: this value is no whole number, nor true or false; put texts in quotes, like endpoint = "vpn.example.com:51820"`},
		{"[[tunnel]]\nname = 'work\n", ":2: the quote that begins here is not closed on its line; close it with '"},
		{"[[tunnel]]\nname = '''work\n\n", ":2: the three quotes that begin here are not closed; close them with '''"},
		{"[[tunnel]]\n\n  name = 'a'\nmtu = 1\nname = 'b'", ":5: line 3 gives this key already; keep one of the two"},
		{"[gateway]\n\n[gateway]", ":3: line 1 begins this section already; make one of the two, or write it in double brackets like [[tunnel.peer]] if there can be several"},
		{"[[tunnel]]\n[tunnel.peer]\n[tunnel.peer]", ":3: line 2 begins this section already; make one of the two, or write it in double brackets like [[tunnel.peer]] if there can be several"},
		{"[[tunnel]]\ndns = ['10.0.0.1'\n'10.0.0.2']", `:3: there should be a comma or ] before this; write it like ["10.0.0.0/8", "fd00::/8"]`},
		{"[[tunnel]]\npeer = [{mtu = 1 mtu = 2}]", ":2: there should be a comma or } before this; close it on its line, or write a section"},
		{"[[tunnel]]\nname = 'a'\nname.b = 'c'", `:3: this is not TOML (the line is not shown, it may hold a key); write texts like "a", lists like ["a", "b"], and each key and section once`},
		{"[[tunnel]]\nname = \"\\q\"", `:2: this is not TOML (the line is not shown, it may hold a key); write texts like "a", lists like ["a", "b"], and each key and section once`},
		{"[[tunnel]]\n\"m\\u0074u\" = 1", ":2: there is an escape in the name of a key; write it without"},
		{"a.b.c.d.e.f.g.h.i = 1", ":1: this name has more than 8 parts; is it the right file?"},
		{"[[tunnel]]\ndns = [[[[[[[[[[]]]]]]]]]]", ":2: lists or tables lie too deep within each other here; is it the right file?"},
		{whole + "# caf\xe9\n", ":11: this is not text in UTF-8; save the file as UTF-8 (Windows PowerShell writes UTF-16 with > by default)"},
		{whole + strings.Repeat("#", maxSize), ": this is larger than 8 MiB; is it the right file?"},
		{whole + "[[tunnel]]\nname = 'work'\nprivate_key = '{{private}}'\naddresses = ['10.0.0.3']", ":12: tunnel 2: name: tunnel 1 is called work too; give each tunnel a name of its own"},
		{withTOML("listen_port = 5", "", "[[tunnel]]\nprivate_key = '{{private}}'\naddresses = ['10.0.0.3']\nlisten_port = 5"), ":13: tunnel 2: listen_port: tunnel 1 has port 5 already; choose another one, or 0 for any"},
		{"[[tunnel]]\naddresses = ['10.0.0.2']", ":1: tunnel 1: no private key is given; add the one whose public key the other end knows, or make a pair with wimble genkey and wimble pubkey"},
		{"[[tunnel]]\nprivate_key = '{{private}}'", ":1: tunnel 1: no address is given; add the one that the other end has for this tunnel in its AllowedIPs"},
		{"[[tunnel]]\nprivate_key = '{{private}}'\naddresses = []", ":3: tunnel 1: addresses: no address is given; add the one that the other end has for this tunnel in its AllowedIPs"},
		{withTOML("", "", "[[tunnel.peer]]"), ":10: tunnel 1: peer 2: no public key is given; add the one that the other end shows as its own"},
		{withTOML("", "", "[[tunnel.peer]]\npublic_key = '{{public}}'"), ":11: tunnel 1: peer 2: public_key: peer 1 has the same public key; make one section of the two"},
	} {
		refusesTOML(t, test.text, "wimble.toml"+test.want)
	}
}
