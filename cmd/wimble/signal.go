package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal is ctx until SIGINT, SIGTERM or one more. After stop, which must be called, such a signal ends the process
// at once. A reader of our output that goes away ends nothing.
func untilSignal(ctx context.Context, more ...os.Signal) (until context.Context, stop context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	return signal.NotifyContext(ctx, append(more, os.Interrupt, syscall.SIGTERM)...)
}
