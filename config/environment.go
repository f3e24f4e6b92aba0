package config

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

// The variables of the environment that configure a tunnel: the text of a file,
// or else some that gluetun has, so that its users can keep theirs.
const (
	envConfig       = "WIMBLE_CONFIG"
	envPrivateKey   = "WIREGUARD_PRIVATE_KEY"
	envAddresses    = "WIREGUARD_ADDRESSES"
	envMTU          = "WIREGUARD_MTU"
	envPublicKey    = "WIREGUARD_PUBLIC_KEY"
	envPresharedKey = "WIREGUARD_PRESHARED_KEY"
	envEndpointIP   = "WIREGUARD_ENDPOINT_IP"
	envEndpointPort = "WIREGUARD_ENDPOINT_PORT"
	envAllowedIPs   = "WIREGUARD_ALLOWED_IPS"
	envKeepalive    = "WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL"
)

// variables are those of the environment, and the keys of wg-quick(8) that they
// stand for.
var variables = []struct{ name, key string }{
	{envConfig, ""},
	{envPrivateKey, keyPrivateKey},
	{envAddresses, keyAddress},
	{envMTU, keyMTU},
	{envPublicKey, keyPublicKey},
	{envPresharedKey, keyPresharedKey},
	{envEndpointIP, keyEndpoint},
	{envEndpointPort, ""},
	{envAllowedIPs, keyAllowedIPs},
	{envKeepalive, keyKeepalive},
}

// theEnvironment is what messages call it, and the name of its tunnel.
const theEnvironment = "environment"

// Variables are the names of the variables that [FromEnvironment] reads. Some
// hold secrets, so no other program should inherit any.
func Variables() []string {
	var names []string
	for _, v := range variables {
		names = append(names, v.name)
	}
	return names
}

// FromEnvironment makes a configuration of variables of the environment, which
// getenv gives as [os.Getenv] does. WIMBLE_CONFIG is the text of a file, as
// [Parse] reads it; relative paths in it are from the working directory. Others,
// which must not be set too, give one tunnel to one peer, with gluetun's meaning
// and defaults: WIREGUARD_PRIVATE_KEY, _PRESHARED_KEY, _PUBLIC_KEY, _ADDRESSES,
// _ENDPOINT_IP, _ENDPOINT_PORT, _ALLOWED_IPS (everything), _MTU,
// _PERSISTENT_KEEPALIVE_INTERVAL.
//
// An empty variable is none. When all are empty, the result has no tunnel and
// there is no error.
func FromEnvironment(getenv func(string) string) (Config, []Warning, error) {
	values := make(map[string]string)
	for _, v := range variables {
		if text := strings.TrimSpace(getenv(v.name)); text != "" {
			values[v.name] = text
		}
	}
	text, hasText := values[envConfig]
	switch {
	case len(values) == 0:
		return Config{}, nil, nil
	case hasText && len(values) > 1:
		return Config{}, nil, &Error{
			At:     Place{File: theEnvironment, Key: envConfig},
			Cause:  errors.New("there are WIREGUARD variables too"),
			Remedy: "unset that or those",
		}
	case hasText:
		return Parse(envConfig, []byte(text))
	}
	tunnel, err := tunnelFrom(values)
	if err != nil {
		return Config{}, nil, err
	}
	warnings, err := check(&tunnel, locateVariable)
	if err != nil {
		return Config{}, nil, err
	}
	return Config{Tunnels: []Tunnel{tunnel}}, warnings, nil
}

// locateVariable is the [locator] of the environment.
func locateVariable(_ int, key string, _ int) Place {
	place := Place{File: theEnvironment}
	for _, v := range variables {
		if v.key == key && key != "" {
			place.Key = v.name
		}
	}
	return place
}

// tunnelFrom reads the variables other than envConfig.
func tunnelFrom(values map[string]string) (Tunnel, error) {
	tunnel := Tunnel{Name: theEnvironment, Peers: []Peer{{}}}
	peer := &tunnel.Peers[0]
	peer.AllowedIPs = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	for _, v := range variables {
		text, ok := values[v.name]
		if !ok {
			continue
		}
		if err := setVariable(&tunnel, peer, v.name, text); err != nil {
			return Tunnel{}, at(Place{File: theEnvironment, Key: v.name}, err)
		}
	}
	var err error
	peer.Endpoint, err = endpointFrom(values[envEndpointIP], values[envEndpointPort])
	return tunnel, err
}

// setVariable takes the value of a variable other than those of the endpoint.
func setVariable(tunnel *Tunnel, peer *Peer, name, text string) (err error) {
	switch name {
	case envPrivateKey:
		tunnel.PrivateKey, err = parsePrivateKey(text)
	case envAddresses:
		tunnel.Addresses, err = splitList(text, parseAddress)
	case envMTU:
		tunnel.MTU, err = parseMTU(text)
	case envPublicKey:
		peer.PublicKey, err = parsePublicKey(text)
	case envPresharedKey:
		peer.PresharedKey, err = parsePresharedKey(text)
	case envAllowedIPs:
		peer.AllowedIPs, err = splitList(text, parseAllowedNetwork)
	case envKeepalive:
		peer.PersistentKeepalive, err = parseInterval(text)
	}
	return err
}

// splitList reads what stands between commas.
func splitList[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for item := range strings.SplitSeq(text, ",") {
		x, err := parse(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// parseInterval reads a keepalive as gluetun does, "25s", or as wg does, "25".
func parseInterval(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789") == "" {
		return parseKeepalive(text)
	}
	d, err := parseDuration(text)
	if err == nil {
		err = checkKeepalive(d)
	}
	return d, err
}

// endpointFrom joins an address, or a name, and a port. There may be neither.
func endpointFrom(host, port string) (string, error) {
	missing := ""
	switch {
	case host == "" && port == "":
		return "", nil
	case host == "":
		missing = envEndpointIP
	case port == "":
		missing = envEndpointPort
	}
	if missing != "" {
		return "", &Error{
			At:     Place{File: theEnvironment, Key: missing},
			Cause:  errors.New("the endpoint needs an address and a port, and this is not set"),
			Remedy: "set it; servers often listen on port 51820",
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	endpoint, err := parseEndpoint(host + ":" + port)
	return endpoint, at(Place{File: theEnvironment, Key: envEndpointIP}, err)
}
