package main

import (
	"strings"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/proxy"
)

// protocols are those of a configuration, as package proxy has them.
func protocols(configured []config.Protocol) (all []proxy.Protocol) {
	for _, p := range configured {
		all = append(all, proxy.Protocol(p))
	}
	return all
}

// users are those of a configuration, as package proxy has them.
func users(configured config.Users) proxy.Users {
	all := make(proxy.Users, len(configured))
	for name, hash := range configured {
		all[name] = proxy.PasswordHash(hash)
	}
	return all
}

// protocolNames are protocols as people read them: what is older comes first.
func protocolNames(configured []config.Protocol) string {
	names := make([]string, 0, len(configured))
	for i := len(configured) - 1; i >= 0; i-- {
		names = append(names, string(configured[i]))
	}
	return strings.Join(names, " + ")
}
