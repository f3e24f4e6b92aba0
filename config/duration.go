package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// readDuration reads a text like "1m30s" or "off", or a number of seconds, by
// a function that checks it.
func readDuration(v value, check func(time.Duration) error) (time.Duration, error) {
	var d time.Duration
	var err error
	switch raw := v.raw.(type) {
	case int64:
		d, err = seconds(raw)
	case string:
		d, err = parseDuration(raw)
	default:
		return 0, v.mismatch("a duration", `write it like "25s"`)
	}
	if err == nil {
		err = check(d)
	}
	return d, v.at(err)
}

// parseDuration reads a text like "1m30s", or "off" for 0.
func parseDuration(s string) (time.Duration, error) {
	if strings.EqualFold(s, "off") {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, &Error{Cause: fmt.Errorf("%s is not a duration", quote(s)), Remedy: `write it like "25s" or "1m30s"`}
	}
	return d, nil
}

// seconds is the duration that a bare number means.
func seconds(n int64) (time.Duration, error) {
	const most = math.MaxInt64 / int64(time.Second)
	if n < -most || n > most {
		return 0, &Error{Cause: fmt.Errorf("%d seconds are too many", n), Remedy: `write it like "25s" or "1m30s"`}
	}
	return time.Duration(n) * time.Second, nil
}

// maxKeepalive is the longest interval that wg(8) takes.
const maxKeepalive = 65535 * time.Second

// checkKeepalive takes whole seconds.
func checkKeepalive(d time.Duration) error {
	if d < 0 || d > maxKeepalive || d%time.Second != 0 {
		return &Error{
			Cause:  fmt.Errorf("%v is not whole seconds from 0 to %d", d, maxKeepalive/time.Second),
			Remedy: `write "off", or "25s" to keep a NAT's mapping alive`,
		}
	}
	return nil
}
