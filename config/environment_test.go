package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// fromEnvironment reads variables as a process that has just these.
func fromEnvironment(keys *keyring, variables map[string]string) (Config, []Warning, error) {
	return FromEnvironment(func(name string) string { return keys.fill(variables[name]) })
}

// gluetun are variables as its users have them.
func gluetun() map[string]string {
	return map[string]string{
		"WIREGUARD_PRIVATE_KEY":                   "{{private}}",
		"WIREGUARD_PRESHARED_KEY":                 "{{preshared}}",
		"WIREGUARD_PUBLIC_KEY":                    "{{public}}",
		"WIREGUARD_ADDRESSES":                     "10.64.222.21/32, fd7d::2/128",
		"WIREGUARD_ENDPOINT_IP":                   "2001:db8::1",
		"WIREGUARD_ENDPOINT_PORT":                 "51820",
		"WIREGUARD_ALLOWED_IPS":                   "10.0.0.0/8,fd00::/8",
		"WIREGUARD_MTU":                           "1320",
		"WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL": "25s",
	}
}

func TestFromEnvironment(t *testing.T) {
	keys := newKeyring(t)
	config, warnings, err := fromEnvironment(keys, gluetun())
	if err != nil || len(warnings) > 0 || len(config.Tunnels) != 1 {
		t.Fatalf("got %v, %v, %v", config, warnings, err)
	}
	var b strings.Builder
	dump(&b, &config.Tunnels[0])
	dumpSecrets(&b, &config.Tunnels[0])
	const want = `tunnel environment
  address 10.64.222.21/32
  address fd7d::2/128
  mtu 1320
  listen port 0
peer 1
  public key {{public}}
  endpoint "[2001:db8::1]:51820"
  keepalive 25s
  allowed 10.0.0.0/8
  allowed fd00::/8
private key {{private}}
preshared key of peer 1 {{preshared}}
`
	if got := keys.hide(b.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestEnvironmentDefaults: what may be left out, and other forms.
func TestEnvironmentDefaults(t *testing.T) {
	keys := newKeyring(t)
	config, warnings, err := fromEnvironment(keys, map[string]string{
		"WIREGUARD_PRIVATE_KEY":                   " {{private}}\n",
		"WIREGUARD_PUBLIC_KEY":                    "{{public}}",
		"WIREGUARD_PRESHARED_KEY":                 "",
		"WIREGUARD_ADDRESSES":                     "10.64.222.21",
		"WIREGUARD_ENDPOINT_IP":                   "vpn.example.com",
		"WIREGUARD_ENDPOINT_PORT":                 "51820",
		"WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL": "25",
	})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	var b strings.Builder
	dump(&b, &config.Tunnels[0])
	const want = `tunnel environment
  address 10.64.222.21/32
  mtu 0
  listen port 0
peer 1
  public key {{public}}
  endpoint "vpn.example.com:51820"
  keepalive 25s
  allowed 0.0.0.0/0
  allowed ::/0
`
	if got := keys.hide(b.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRefusedEnvironment names the variable, and never shows a secret's value.
func TestRefusedEnvironment(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"WIREGUARD_PRIVATE_KEY", "", "WIREGUARD_PRIVATE_KEY: no private key is given; add the one whose public key the other end knows, or make a pair with wimble genkey and wimble pubkey"},
		{"WIREGUARD_PRIVATE_KEY", "{{private}}x", "WIREGUARD_PRIVATE_KEY: a key is 44 characters of base64, this has 45; copy the key again from where it was made, whole and without spaces (it is not repeated here)"},
		{"WIREGUARD_PUBLIC_KEY", "", "WIREGUARD_PUBLIC_KEY: no public key is given; add the one that the other end shows as its own"},
		{"WIREGUARD_PUBLIC_KEY", "{{own}}", "WIREGUARD_PUBLIC_KEY: this is the tunnel's own public key; put the other end's here, and our own into its configuration"},
		{"WIREGUARD_ADDRESSES", "", "WIREGUARD_ADDRESSES: no address is given; add the one that the other end has for this tunnel in its AllowedIPs"},
		{"WIREGUARD_ADDRESSES", "{{private}}", "WIREGUARD_ADDRESSES: this value (not shown, it may be a key) is not an IP address with or without a prefix length; write it like 10.0.0.2/32 or fd00::2/128"},
		{"WIREGUARD_ENDPOINT_IP", "", "WIREGUARD_ENDPOINT_IP: the endpoint needs an address and a port, and this is not set; set it; servers often listen on port 51820"},
		{"WIREGUARD_ENDPOINT_PORT", "", "WIREGUARD_ENDPOINT_PORT: the endpoint needs an address and a port, and this is not set; set it; servers often listen on port 51820"},
		{"WIREGUARD_ENDPOINT_PORT", "0", `WIREGUARD_ENDPOINT_IP: the port of "[2001:db8::1]:0" is not a number from 1 to 65535; write it like vpn.example.com:51820`},
		{"WIREGUARD_ALLOWED_IPS", "10.1.2.3/8", "WIREGUARD_ALLOWED_IPS: 10.1.2.3/8 has bits set behind its length; write 10.0.0.0/8, or 10.1.2.3/32 for the one address"},
		{"WIREGUARD_MTU", "1", `WIREGUARD_MTU: "1" is not a size from 576 to 65475 bytes; remove the line for the default`},
		{"WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL", "1h1ms", `WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL: 1h0m0.001s is not whole seconds from 0 to 65535; write "off", or "25s" to keep a NAT's mapping alive`},
		{"WIMBLE_CONFIG", "[Interface]", "WIMBLE_CONFIG: there are WIREGUARD variables too; unset that or those"},
	} {
		keys := newKeyring(t)
		variables := gluetun()
		variables[test.name] = test.value
		_, _, err := fromEnvironment(keys, variables)
		if want := "environment: " + test.want; err == nil || err.Error() != want {
			t.Errorf("\ngot  %v\nwant %s", err, want)
		} else {
			keys.checkSecret(t, err.Error())
		}
	}
}

// TestConfigVariable: the text of a file of either format.
func TestConfigVariable(t *testing.T) {
	for _, test := range []struct{ text, tunnel string }{
		{withLines("", ""), "WIMBLE_CONFIG"},
		{withTOML("", "", ""), "work"},
	} {
		config, _, err := fromEnvironment(newKeyring(t), map[string]string{"WIMBLE_CONFIG": test.text})
		if err != nil || len(config.Tunnels) != 1 || config.Tunnels[0].Name != test.tunnel {
			t.Errorf("got %v, %v", config, err)
		}
	}
	_, _, err := fromEnvironment(newKeyring(t), map[string]string{"WIMBLE_CONFIG": "[Interface]\nPrivateKey = {{preshared}}x"})
	if err == nil || !strings.HasPrefix(err.Error(), "WIMBLE_CONFIG:2: Interface: PrivateKey: a key is 44 characters") {
		t.Errorf("got %v", err)
	}
}

// TestVariables: who removes them from the environment of a child process has
// to know all that are read.
func TestVariables(t *testing.T) {
	asked := make(map[string]bool)
	config, warnings, err := FromEnvironment(func(name string) string {
		asked[name] = true
		return ""
	})
	if err != nil || len(warnings) > 0 || len(config.Tunnels) > 0 {
		t.Errorf("nothing set: got %v, %v, %v", config, warnings, err)
	}
	got := slices.Sorted(slices.Values(Variables()))
	if want := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name := range gluetun() {
		if !asked[name] {
			t.Errorf("%s is not read", name)
		}
	}
}
