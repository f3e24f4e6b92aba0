package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// template has a line to fill in each section: 4 and 8.
const template = `[Interface]
PrivateKey = {{private}}
Address = 10.0.0.2/32
INTERFACE
[Peer]
PublicKey = {{public}}
AllowedIPs = 10.0.0.0/8
PEER
`

// withLines is the template with a line in each section.
func withLines(iface, peer string) string {
	return strings.NewReplacer("INTERFACE", iface, "PEER", peer).Replace(template)
}

// TestRefusedInterfaceLine puts one wrong line into [Interface]. Each message
// has to say what is wrong and what would be right.
func TestRefusedInterfaceLine(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"PrivateKey = {{preshared}}", "PrivateKey: line 2 gives it already; keep one of the two"},
		{"Adress = 10.0.0.3", `unknown key "Adress"; did you mean Address?`},
		{"Adress =", `unknown key "Adress"; did you mean Address?`},
		{"Add\x1bress = 10.0.0.3", `unknown key "Add\x1bress"; did you mean Address?`},
		{"PrivatKey = {{preshared}}", `unknown key "PrivatKey"; did you mean PrivateKey?`},
		{"addresses = 10.0.0.3", `unknown key "addresses"; did you mean Address?`},
		{"listen_port = 5", `unknown key "listen_port"; did you mean ListenPort?`},
		{"DSN = 10.0.0.1", `unknown key "DSN"; did you mean DNS?`},
		{"CheckAlive = 10.0.0.1", `unknown key "CheckAlive"; known here: PrivateKey, Address, DNS, MTU, ListenPort, FwMark, Table, PreUp, PostUp, PreDown, PostDown, SaveConfig, IncludedApplications, ExcludedApplications`},
		{"Endpoint = 192.0.2.1:51820", "Endpoint is a key of [Peer]; move the line there"},
		{"Address = 10.0.0.2/24", "Address: 10.0.0.2 is given twice; keep one"},
		{"Address = 10.0.0.3/33", `Address: "10.0.0.3/33" is not an IP address with or without a prefix length; write it like 10.0.0.2/32 or fd00::2/128`},
		{"Address = 0.0.0.0/0", "Address: 0.0.0.0 can't be the address of an interface; write the address that the other end has for this tunnel in its AllowedIPs"},
		{"Address = ff02::1", "Address: ff02::1 can't be the address of an interface; write the address that the other end has for this tunnel in its AllowedIPs"},
		{"Address = ::ffff:10.0.0.3", "Address: ::ffff:10.0.0.3 is an IPv4 address mapped into IPv6; write it as IPv4: 10.0.0.3"},
		{"DNS = 10.0.0", `DNS: "10.0.0" is not the address of a name server; write it like 10.0.0.1 or fd00::1, without a port`},
		{"DNS = 10.0.0.1:53", `DNS: "10.0.0.1:53" is not the address of a name server; write it like 10.0.0.1 or fd00::1, without a port`},
		{"DNS = fe80::1%eth0", `DNS: "fe80::1%eth0" is not the address of a name server; write it like 10.0.0.1 or fd00::1, without a port`},
		{"DNS = ::ffff:10.0.0.1", "DNS: ::ffff:10.0.0.1 is an IPv4 address mapped into IPv6; write it as IPv4: 10.0.0.1"},
		{"DNS = corp_.-example", `DNS: "corp_.-example" is neither the address of a name server nor a search domain; write it like 10.0.0.1 or corp.example`},
		{"MTU = 575", `MTU: "575" is not a size from 576 to 65475 bytes; remove the line for the default`},
		{"MTU = 65476", `MTU: "65476" is not a size from 576 to 65475 bytes; remove the line for the default`},
		{"MTU =", "MTU: there is no value; write one or remove the line"},
		{"ListenPort = 65536", `ListenPort: "65536" is not a port from 0 to 65535; 0 is any free port`},
		{"; a comment of other INI files", "this line begins with ;; begin comments with #"},
		{"no equals sign", "there is no = in this line (not shown, it may be a key); write it like Address = 10.0.0.2/32, or begin a comment with #"},
	} {
		refuses(t, withLines(test.line, ""), "wg0.conf:4: Interface: "+test.want)
	}
}

// TestRefusedPeerLine puts one wrong line into [Peer].
func TestRefusedPeerLine(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"AllowedIP = 10.0.0.3", `unknown key "AllowedIP"; did you mean AllowedIPs?`},
		// Letters of a key, as long as none of a word, and before a second "=".
		{"AbCdEfGhIjKlMnOpQrStUvWxY = x", "unknown key (not shown, it may be a key); known here: PublicKey, PresharedKey, Endpoint, AllowedIPs, PersistentKeepalive"},
		{"AbCdEfGh=PublicKey = x", "unknown key (not shown, it may be a key); known here: PublicKey, PresharedKey, Endpoint, AllowedIPs, PersistentKeepalive"},
		{"PresharedKeys = x", `unknown key "PresharedKeys"; did you mean PresharedKey?`},
		{"MTU = 1420", "MTU is a key of [Interface]; move the line there"},
		{"PostUp = true", "PostUp is a key of [Interface]; move the line there"},
		{"PresharedKey =", "PresharedKey: there is no value; write one or remove the line"},
		{"PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "PresharedKey: this preshared key is all zero, which is none; remove the line if the peer has none either"},
		{"AllowedIPs = +192.168.0.0/16", `AllowedIPs: "+192.168.0.0/16" adds to or removes from the list of a running interface, and a file begins with none; write the whole list without + and -`},
		{"AllowedIPs = 11.0.0.0/8, -10.1.0.0/16", `AllowedIPs: "-10.1.0.0/16" adds to or removes from the list of a running interface, and a file begins with none; write the whole list without + and -`},
		{"AllowedIPs = 10.0.0.0/255.0.0.0", `AllowedIPs: "10.0.0.0/255.0.0.0" is not an IP address with or without a prefix length; write it like 10.0.0.2/32 or fd00::2/128`},
		{"AllowedIPs = fe80::1%eth0", `AllowedIPs: "fe80::1%eth0" is not an IP address with or without a prefix length; write it like 10.0.0.2/32 or fd00::2/128`},
		{"Endpoint = vpn.example.com", `Endpoint: "vpn.example.com" has no port; write host:port; servers often listen on 51820`},
		{"PersistentKeepalive = 25s", `PersistentKeepalive: "25s" is not a number of seconds from 0 to 65535; write off, or 25 to keep a NAT's mapping alive`},
		{"PersistentKeepalive = 65536", `PersistentKeepalive: "65536" is not a number of seconds from 0 to 65535; write off, or 25 to keep a NAT's mapping alive`},
	} {
		refuses(t, withLines("", test.line), "wg0.conf:8: Peer 1: "+test.want)
	}
}

// TestRefusedFile has what is wrong with a file as a whole or between sections.
func TestRefusedFile(t *testing.T) {
	whole := withLines("", "")
	for _, test := range []struct{ text, want string }{
		{"", "wg0.conf: there is no [Interface] section; is this the WireGuard file?"},
		{"[Peer]\nPublicKey = {{public}}", "wg0.conf: there is no [Interface] section; is this the WireGuard file?"},
		{"MTU = 1420\n[Interface]", "wg0.conf:1: this line stands above the first section; put [Interface] or [Peer] above it"},
		{"[Interface", "wg0.conf:1: this section's name does not end with ]; write [Interface] or [Peer]"},
		{"[Interfaces]", `wg0.conf:1: unknown section "Interfaces"; did you mean Interface?`},
		{whole + "[Pear]", `wg0.conf:9: unknown section "Pear"; did you mean Peer?`},
		{whole + "\n# caf\xe9\n", "wg0.conf:10: this is not text in UTF-8; save the file as UTF-8 (Windows PowerShell writes UTF-16 with > by default)"},
		{"\xff\xfe[\x00I\x00", "wg0.conf:1: this is not text in UTF-8; save the file as UTF-8 (Windows PowerShell writes UTF-16 with > by default)"},
		{whole + "\n\n\x00", "wg0.conf:11: this is not text in UTF-8; save the file as UTF-8 (Windows PowerShell writes UTF-16 with > by default)"},
		{whole + strings.Repeat("#", maxSize), "wg0.conf: this is larger than 8 MiB; is it the right file?"},
		{"[Interface]\nAddress = 10.0.0.2", "wg0.conf:1: Interface: no private key is given; add the one whose public key the other end knows, or make a pair with wimble genkey and wimble pubkey"},
		{"[Interface]\nPrivateKey = {{private}}", "wg0.conf:1: Interface: no address is given; add the one that the other end has for this tunnel in its AllowedIPs"},
		{withLines("Address = fd00::2\nMTU = 1279", ""), "wg0.conf:5: Interface: MTU: 1279 bytes are too few for the IPv6 address fd00::2; raise it to at least 1280 or remove the address"},
		{whole + "[Peer]\nAllowedIPs = 11.0.0.0/8", "wg0.conf:9: Peer 2: no public key is given; add the one that the other end shows as its own"},
		{whole + "[Peer]\n\nPublicKey = {{public}}", "wg0.conf:11: Peer 2: PublicKey: peer 1 has the same public key; make one section of the two"},
		{whole + "[Peer]\nPublicKey = {{public2}}\nAllowedIPs = 10.1.2.3/8", "wg0.conf:11: Peer 2: AllowedIPs: 10.0.0.0/8 is in the list of peer 1 already; leave it with the one peer that is to get the packets"},
	} {
		refuses(t, test.text, test.want)
	}
}

// refuses fails unless the text, filled with keys, is refused in these words
// and without a secret.
func refuses(t *testing.T, text, want string) {
	t.Helper()
	keys := newKeyring(t)
	tunnel, _, err := ParseWireGuard("wg0.conf", []byte(keys.fill(text)))
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("accepted, want %s", want)
		return
	}
	if e.Error() != want {
		t.Errorf("\ngot  %s\nwant %s", e, want)
	}
	if !tunnel.PrivateKey.IsZero() {
		t.Errorf("%s: half a tunnel came with the error", want)
	}
	keys.checkSecret(t, e.Error())
}

// TestLowOrderPublicKeys has the seven keys whose shared secret is zero with
// every private key.
func TestLowOrderPublicKeys(t *testing.T) {
	keys := newKeyring(t)
	for _, public := range []string{
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
		"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
		"7P///////////////////////////////////////38=",
		"7f///////////////////////////////////////38=",
		"7v///////////////////////////////////////38=",
	} {
		text := keys.fill(withLines("", "[Peer]\nPublicKey = "+public))
		_, _, err := ParseWireGuard("wg0.conf", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "wg0.conf:9: Peer 2: PublicKey: ") {
			t.Errorf("%s: %v", public, err)
		}
		// The zero key is refused when it is read, as no key at all.
		if zero := public[1] == 'A' && public[0] == 'A'; !zero && !errors.Is(err, key.ErrLowOrder) {
			t.Errorf("%s: %v does not wrap ErrLowOrder", public, err)
		}
	}
}

// TestSecretsStayHidden damages keys and the lines that hold them in the ways
// that people do, and looks for what is left of them in the message.
func TestSecretsStayHidden(t *testing.T) {
	keys := newKeyring(t)
	secret := keys.private.Base64()
	urlSafe := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(secret)
	for _, line := range []string{
		secret,
		secret[:43],
		secret + secret,
		secret[20:] + "PublicKey = x",
		secret[20:] + " x",
		"PrivateKey " + secret,
		"PrivateKey: " + secret,
		"PrivateKey; " + secret,
		"PrivatKey = " + secret,
		"Private Key = " + secret,
		"[" + secret + "]",
		"[Peer] " + secret,
		"PublicKey = " + secret[:40],
		"PresharedKey = " + secret[:43],
		"PresharedKey = " + secret[:20] + " " + secret[20:],
		"PresharedKey = " + urlSafe,
		"PresharedKey = '" + secret + "'",
		"PresharedKey = " + secret[:42] + "B=",
		"PresharedKey = " + secret[:30] + "\u00e9" + secret[32:],
		"PresharedKey = " + secret + ", " + secret,
		"PresharedKey = = " + secret,
		"Endpoint = " + secret,
		"Endpoint = " + secret + ":51820",
		"Endpoint = " + urlSafe + ".:70000",
		"AllowedIPs = 10.0.0.0/8, " + secret,
		"AllowedIPs = ::ffff:1.2.3.4%" + secret,
		"AllowedIPs = -" + secret,
		"PersistentKeepalive = " + secret,
		"[Interface]\nPrivateKey = " + secret,
		"[Interface]\nDNS = " + secret + "\nMTU = " + secret,
		"[Interface]\nDNS = ~" + secret + "\nMTU = " + secret,
		"[Interface]\nAddress = " + secret,
		"[Interface]\nMTU = " + secret,
		"[Interface]\nListenPort = " + secret,
		"[Interface]\nPostUp = wg set %i private-key " + secret + "\nPostUp = x\nMTU = 1",
	} {
		text := keys.fill(withLines("", line))
		_, _, err := ParseWireGuard("wg0.conf", []byte(text))
		if err == nil {
			t.Errorf("accepted:\n%s", keys.hide(line))
			continue
		}
		if part := shared(secret, err.Error(), 6); part != "" {
			t.Errorf("%q is in %q", part, err)
		}
	}
}

// TestAccepted has single lines that other tools write or accept.
func TestAccepted(t *testing.T) {
	keys := newKeyring(t)
	for _, test := range []struct {
		iface, peer string
		holds       func(*Tunnel) bool
	}{
		{iface: "Address = fd00::2", holds: func(t *Tunnel) bool { return t.Addresses[1].String() == "fd00::2/128" }},
		{iface: "Address = 10.0.0.3/24", holds: func(t *Tunnel) bool { return t.Addresses[1].String() == "10.0.0.3/24" }},
		{iface: "Address = fd00::2\nMTU = 1280", holds: func(t *Tunnel) bool { return t.MTU == 1280 }},
		{iface: "MTU = 576", holds: func(t *Tunnel) bool { return t.MTU == 576 }},
		{iface: "MTU = 65475", holds: func(t *Tunnel) bool { return t.MTU == 65475 }},
		{iface: "ListenPort = 65535", holds: func(t *Tunnel) bool { return t.ListenPort == 65535 }},
		{iface: "DNS = ,", holds: func(t *Tunnel) bool { return t.DNS == nil }},
		{peer: "AllowedIPs = ", holds: func(t *Tunnel) bool { return len(t.Peers[0].AllowedIPs) == 1 }},
		{peer: "AllowedIPs = 192.168.1.1", holds: func(t *Tunnel) bool { return t.Peers[0].AllowedIPs[1].String() == "192.168.1.1/32" }},
		{peer: "PersistentKeepalive = 65535", holds: func(t *Tunnel) bool { return t.Peers[0].PersistentKeepalive == 65535*time.Second }},
		{peer: "PersistentKeepalive = Off", holds: func(t *Tunnel) bool { return t.Peers[0].PersistentKeepalive == 0 }},
		{peer: "Endpoint = [fe80::1%eth0]:51820", holds: func(t *Tunnel) bool { return t.Peers[0].Endpoint == "[fe80::1%eth0]:51820" }},
	} {
		text := keys.fill(withLines(test.iface, test.peer))
		tunnel, warnings, err := ParseWireGuard("wg0.conf", []byte(text))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s%s: %v %v", test.iface, test.peer, warnings, err)
			continue
		}
		if !test.holds(&tunnel) {
			t.Errorf("%s%s: got %+v", test.iface, test.peer, tunnel)
		}
	}
}
