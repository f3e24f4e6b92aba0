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
	exitConfig  = 78  // EX_CONFIG of sysexits.h: starting again changes nothing
	exitTimeout = 124 // as timeout(1) has it
)

// The exit codes of exec besides those of its command, as env(1) has them.
const (
	exitExec     = 125 // exec itself failed
	exitNotRun   = 126
	exitNotFound = 127
	exitSignal   = 128 // and the number of the signal that ended the command
)

// exitCode is the code for the outcome of a command.
func exitCode(command string, err error) int {
	var usage *usageError
	var refused *config.Error
	var late *timeoutError
	var child *childError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &child):
		return child.code
	case command == "exec":
		return exitExec
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &refused):
		return exitConfig
	case errors.As(err, &late):
		return exitTimeout
	}
	return exitRuntime
}

// childError is that a command of exec did not succeed.
type childError struct {
	code  int
	cause error // why it did not run; nil if it did, and has said itself why it failed
}

func (e *childError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("the command ended with code %d", e.code)
	}
	return e.cause.Error()
}

// timeoutError is what was waited for and did not happen in time.
type timeoutError struct{ error }

func (e *timeoutError) Unwrap() error { return e.error }

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
