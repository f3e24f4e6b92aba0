// Package interop tests Wimble against wireguard-go, an engine that somebody
// else wrote, in one process and without root. It is a module of its own so
// that the project's go.mod requires no foreign engine; the tests of package
// integration run it.
package interop
