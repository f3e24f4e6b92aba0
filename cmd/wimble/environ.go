package main

import (
	"runtime"
	"slices"
	"strings"

	"github.com/wimble-proxy/wimble/config"
)

// proxyVariables name a proxy to programs: there is no standard for them, so that some read them in capitals, some in
// lower case, and some only one of the three.
var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}

// directVariables name what programs reach without the proxy.
var directVariables = []string{"NO_PROXY", "no_proxy"}

// thisHost is what goes to no proxy: what a command itself serves on this host.
const thisHost = "localhost,127.0.0.1,::1"

// childEnvironment is the environment of a command that is to use a proxy: ours without what holds a configuration.
func childEnvironment(ours []string, proxy string) []string {
	drop := slices.Concat(config.Variables(), proxyVariables, directVariables)
	theirs := slices.DeleteFunc(slices.Clone(ours), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.ContainsFunc(drop, func(other string) bool { return sameVariable(name, other) })
	})
	for _, name := range proxyVariables {
		theirs = append(theirs, name+"="+proxy)
	}
	for _, name := range directVariables {
		theirs = append(theirs, name+"="+thisHost)
	}
	return theirs
}

// sameVariable reports whether two names are of one variable.
func sameVariable(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}
