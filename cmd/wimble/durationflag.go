package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// durationFlag is the value of a flag that takes a time.
type durationFlag time.Duration

func (d *durationFlag) addTo(cmd *cobra.Command, name, usage string) {
	cmd.Flags().Var(d, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // fails only for a flag that is not there
}

func (d *durationFlag) Type() string   { return "time" }
func (d *durationFlag) String() string { return time.Duration(*d).String() }

// Set takes a text like 90s, or a number of seconds.
func (d *durationFlag) Set(s string) error {
	if _, err := strconv.ParseUint(s, 10, 32); err == nil {
		s += "s"
	}
	parsed, err := time.ParseDuration(s)
	if err != nil || parsed < 0 {
		return errors.New("this is not a time; write it like 90s or 2m")
	}
	*d = durationFlag(parsed)
	return nil
}
