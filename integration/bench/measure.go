package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	fewSlices = 3
	warm      = 500 * time.Millisecond
)

// bench measures the rows that the options name.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(stderr, "bench: "+format+"\n", args...) }
	l, err := newLab(ctx, o.profile, say)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, l.close()) }()
	report := newReport(stdout)
	var failed []error
	all := rows()
	if o.svg != "" {
		all = append(all, plotRows()...)
	}
	for _, r := range all {
		if !o.rows.MatchString(r.name) {
			continue
		}
		if r.clients = slices.DeleteFunc(r.clients, func(c client) bool { return c == kernelTun && l.noKernel != "" }); r.far == farKernel && l.noKernel != "" {
			report.leftOut(r.name, l.noKernel)
			continue
		}
		samples, err := l.measure(ctx, r, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.name, err))
			report.leftOut(r.name, err.Error())
			continue
		}
		report.add(r, samples)
	}
	if o.json != "" {
		failed = append(failed, report.writeJSON(o.json))
	}
	if o.svg != "" {
		failed = append(failed, report.writePlots(o.svg))
	}
	return errors.Join(failed...)
}

// measure does a row's work with each of its clients in turns, and returns the samples of each.
func (l *lab) measure(ctx context.Context, r row, o options) (_ map[client][]sample, err error) {
	r.fit(o)
	if o.profile != "" {
		r.profile = fileOf(o.profile, r.name)
	}
	pairs := map[client]*pair{}
	defer func() {
		for _, p := range pairs {
			p.close()
		}
	}()
	if !r.fresh {
		for _, c := range r.clients {
			if pairs[c], err = l.open(ctx, c, r.setting); err != nil {
				delete(pairs, c)
				return nil, err
			}
		}
	}
	n := o.slices
	if r.few {
		n = min(n, fewSlices)
	}
	samples := map[client][]sample{}
	for i := range n {
		order := slices.Clone(r.clients)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			s, err := l.slice(ctx, &r, c, pairs[c])
			if err != nil {
				return nil, fmt.Errorf("client %s: %w", c, err)
			}
			samples[c] = append(samples[c], s)
		}
	}
	return samples, nil
}

// fit fills in times that the row leaves to the options.
func (r *row) fit(o options) {
	r.Warm = cmp.Or(r.Warm, warm)
	if r.settles {
		r.Warm = o.settle
	}
	r.Time = cmp.Or(r.Time, o.time)
	if o.quick {
		r.Warm, r.Time = min(r.Warm, o.time), min(r.Time, o.time)
	}
}

// slice does a row's work once with one client, on its open pair if it has one.
func (l *lab) slice(ctx context.Context, r *row, c client, p *pair) (_ sample, err error) {
	s := sample{row: r}
	if r.baseline {
		alone := *r
		alone.idlePeers, alone.baseline = 0, false
		b, err := l.slice(ctx, &alone, c, nil)
		if err != nil {
			return s, err
		}
		s.baseline = b.Memory
	}
	if p == nil {
		if p, err = l.open(ctx, c, r.setting); err != nil {
			return s, err
		}
		defer p.close()
	}
	s.first, s.size = p.first, p.size
	w := r.work
	w.Via, w.Target, w.PID = p.via, p.target, p.client.pid()
	if c == ours {
		w.Profile = r.profile
	}
	if s.result, err = l.do(ctx, w); err != nil {
		select {
		case <-p.client.ended:
			err = fmt.Errorf("%w; it ended: %s", err, p.client.said)
		default:
		}
	}
	return s, err
}
