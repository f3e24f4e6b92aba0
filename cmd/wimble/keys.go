package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

func genkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "genkey",
		Short: "Print a new private key, as wg genkey does",
		Example: `  umask 077
  wimble genkey | tee privatekey | wimble pubkey > publickey`,
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := key.NewPrivate(rand.Reader)
			if err != nil {
				return err
			}
			return printSecret(cmd, k.Base64())
		},
	}
}

func genpskCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "genpsk",
		Short:                 "Print a new preshared key, as wg genpsk does",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := key.NewPreshared(rand.Reader)
			if err != nil {
				return err
			}
			return printSecret(cmd, k.Base64())
		},
	}
}

// printSecret prints a secret, and warns when everybody can read where it goes.
func printSecret(cmd *cobra.Command, secret string) error {
	out := cmd.OutOrStdout()
	if f, ok := out.(fs.File); ok {
		if info, err := f.Stat(); err == nil && config.OpenToOthers(info) {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: other users have access to the file that this key goes to; set the umask to 077 and make another")
		}
	}
	_, err := fmt.Fprintln(out, secret)
	return err
}

func pubkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "pubkey",
		Short:                 "Read a private key and print its public key, as wg pubkey does",
		Example:               `  wimble pubkey < privatekey`,
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			private, err := readPrivate(cmd.InOrStdin())
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), private.Public())
			return err
		},
	}
}

// readPrivate reads a private key and nothing else but white space behind it.
func readPrivate(r io.Reader) (key.Private, error) {
	const enough = 4096
	text, err := io.ReadAll(io.LimitReader(r, enough))
	if err != nil {
		return key.Private{}, err
	}
	return key.ParsePrivate(strings.TrimRight(string(text), " \t\r\n\v\f"))
}
