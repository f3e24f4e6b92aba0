package main

import (
	_ "embed"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed configuration.toml
var configurationText string

// configurationTopic is no command, but a page of the help.
func configurationTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "configuration",
		Short: "The keys of a configuration in TOML",
		Long:  strings.TrimSpace(configurationText),
	}
}

// environmentTopic is no command, but a page of the help.
func environmentTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "The variables that can take the place of a file",
		Long: `A command that is not given a file takes its configuration from the environment:

  WIMBLE_CONFIG                            the text of a configuration, in TOML or as a wg-quick file

or, with the names and meanings that gluetun gives them, one tunnel to one peer:

  WIREGUARD_PRIVATE_KEY                    our private key; needed
  WIREGUARD_ADDRESSES                      our addresses in the tunnel, with commas between; needed
  WIREGUARD_PUBLIC_KEY                     the peer's public key; needed
  WIREGUARD_PRESHARED_KEY                  the preshared key; none if not set
  WIREGUARD_ENDPOINT_IP                    where the peer is, an address or a name
  WIREGUARD_ENDPOINT_PORT                  the UDP port that it listens on there
  WIREGUARD_ALLOWED_IPS                    the networks behind the peer; everything if not set
  WIREGUARD_MTU                            the largest packet in the tunnel, in bytes; 1420 if not set
  WIREGUARD_PERSISTENT_KEEPALIVE_INTERVAL  send something so often, like 25s; never if not set

Files with a name are looked for in XDG_CONFIG_HOME, and a running instance has its
control socket in XDG_RUNTIME_DIR.`,
	}
}
