package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wimble-proxy/wimble/config"
)

// The exit codes.
const (
	exitOK      = 0
	exitRuntime = 1
	exitUsage   = 2
	exitConfig  = 78 // EX_CONFIG of sysexits.h: starting again changes nothing
)

// exitCode is the code for the outcome of a command.
func exitCode(err error) int {
	var usage *usageError
	var refused *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &refused):
		return exitConfig
	}
	return exitRuntime
}

// refuse is the error for what a person configured and can't be done: exit code 78. The place is a flag or a file.
func refuse(place string, cause error, remedy string) error {
	return &config.Error{At: config.Place{File: place}, Cause: cause, Remedy: remedy}
}

// usageError is a command line that is not understood. Its text repeats no argument, which may be a key that was put
// in the wrong place.
type usageError struct{ text string }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func (e *usageError) Error() string { return e.text }

// flagError words an error of the flags' parser, whose own text repeats what was given.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	help := cmd.CommandPath() + " --help"
	switch {
	case errors.As(err, &invalid):
		return usagef("%s: %v", flagName(invalid.GetFlag()), errors.Unwrap(invalid))
	case errors.As(err, &missing):
		return usagef("%s: needs a value: %s", flagName(missing.GetFlag()), missing.GetFlag().Value.Type())
	case errors.As(err, &unknown):
		return usagef("there is no such flag; %s lists those that there are", help)
	}
	return usagef("a flag is malformed; see %s", help)
}

// flagName is the shorter way to write a flag.
func flagName(f *pflag.Flag) string {
	if f.Shorthand != "" {
		return "-" + f.Shorthand
	}
	return "--" + f.Name
}
