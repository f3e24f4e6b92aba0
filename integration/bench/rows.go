package main

import (
	"fmt"
	"time"
)

// rows are what is measured, each with what it should reach: the data path first, then latency and connections, memory, distance.
func rows() []row {
	paced := int(200 * megabit)
	var all []row
	add := func(r row) { all = append(all, r) }

	// CPU per GB, saturated.
	for _, streams := range []int{1, 8} {
		at := fmt.Sprintf(", %s, far end ", plural(streams, "stream"))
		all3 := []client{ours, netTun, kernelTun}
		add(row{
			name: "download" + at + "kernelTun", setting: setting{far: farKernel}, work: work{Download: streams}, clients: all3,
			figures: []figure{cpuPerGB(atMost(0.35, netTun), atMost(0.9, kernelTun).aiming(0.75)), throughput(), residentPeak()},
		})
		add(row{
			name: "upload" + at + "kernelTun", setting: setting{far: farKernel}, work: work{Upload: streams}, clients: all3,
			figures: []figure{cpuPerGB(atMost(0.2, netTun), atMost(0.9, kernelTun).aiming(0.75)), throughput(), residentPeak()},
		})
		withSplice := []client{ours, netTun, plain}
		add(row{
			name: "download" + at + "ours", setting: setting{far: farOurs}, work: work{Download: streams}, clients: withSplice,
			figures: []figure{cpuPerGB(atMost(0.25, netTun), atMost(4, plain).aiming(3)), throughput()},
		})
		add(row{
			name: "upload" + at + "ours", setting: setting{far: farOurs}, work: work{Upload: streams}, clients: withSplice,
			figures: []figure{cpuPerGB(atMost(0.25, netTun), atMost(4, plain).aiming(3)), throughput()},
		})
		add(row{
			name: "download" + at + "netTun", setting: setting{far: farNetTun}, work: work{Download: streams}, clients: []client{ours, netTun},
			figures: []figure{cpuPerGB(), throughput()},
		})
		add(row{
			name: "upload" + at + "netTun", setting: setting{far: farNetTun}, work: work{Upload: streams}, clients: []client{ours, netTun},
			figures: []figure{cpuPerGB(), throughput()},
		})
	}

	// CPU per GB, paced, and from a peer that sends single datagrams.
	for _, streams := range []int{1, 8} {
		at := fmt.Sprintf(", 200 Mbit/s, %s, far end kernelTun", plural(streams, "stream"))
		add(row{
			name: "download" + at, setting: setting{far: farKernel}, work: work{Download: streams, Rate: paced}, clients: []client{ours, netTun, kernelTun},
			figures: []figure{cpuPerGB(atMost(0.55, netTun)), throughput()},
		})
		add(row{
			name: "upload" + at, setting: setting{far: farKernel}, work: work{Upload: streams, Rate: paced}, clients: []client{ours, netTun, kernelTun},
			figures: []figure{cpuPerGB(atMost(0.5, netTun)), throughput()},
		})
	}
	add(row{
		name: "download, 1 stream, far end sends single datagrams", setting: setting{far: farSingly}, work: work{Download: 1}, clients: []client{ours, netTun},
		figures: []figure{cpuPerGB(atMost(0.65, netTun)), throughput()},
	})

	// Latency and connections.
	add(row{
		name: "small request, far end kernelTun", setting: setting{far: farKernel}, work: work{Requests: true}, clients: []client{ours, netTun, kernelTun},
		figures: []figure{requestP50(atMost(0.75, netTun)), requestP99(atMost(0.75, netTun))},
	})
	add(row{
		name: "new connection, far end kernelTun", setting: setting{far: farKernel}, work: work{Workers: 1}, clients: []client{ours, netTun, kernelTun},
		figures: []figure{connectionP50(atMost(0.7, netTun)), connectionsFailed()},
	})
	add(row{
		name:    "small request while 8 streams download, 100 Mbit/s, 20 ms",
		setting: setting{far: farKernel, path: &path{Delay: 10 * time.Millisecond, Rate: 100e6, Queue: 20 * time.Millisecond}},
		work:    work{Requests: true, Download: 8, Warm: 3 * time.Second, Time: 10 * time.Second}, clients: []client{ours, netTun, kernelTun},
		figures: []figure{requestP99(atMost(1.2, kernelTun)), requestP50(), throughput()},
	})
	add(row{
		name: "connections, 64 workers, far end kernelTun", setting: setting{far: farKernel}, work: work{Workers: 64}, clients: []client{ours, netTun, kernelTun},
		figures: []figure{connectionRate(atLeast(2, netTun)), connectionCPU(atMost(0.5, netTun)), connectionsFailed()},
	})

	// Memory.
	both := []client{ours, netTun}
	add(row{
		name: "idle", setting: setting{far: farKernel}, work: work{Time: time.Second}, fresh: true, clients: both,
		figures: []figure{resident(atMost(20, "")), firstByte(atMost(60, "")), binarySize(atMost(20, ""))},
	})
	add(row{
		name: "8 streams down", setting: setting{far: farKernel}, work: work{Download: 8}, fresh: true, clients: both,
		figures: []figure{residentPeak(atMost(100, "")), resident()},
	})
	add(row{
		name: "8 streams up", setting: setting{far: farKernel}, work: work{Upload: 8}, fresh: true, clients: both,
		figures: []figure{residentPeak(atMost(100, "")), resident()},
	})
	add(row{
		name: "after 30,000 short connections", setting: setting{far: farKernel}, work: work{Short: 30000}, fresh: true, few: true, settles: true, clients: both,
		figures: []figure{resident(atMost(40, "")), residentPeak()},
	})
	// They are idle when what their opening left is given back.
	add(row{
		name: "10,000 idle connections", setting: setting{far: farKernel, listeners: 3}, work: work{Hold: 10000}, fresh: true, few: true, settles: true, clients: both,
		figures: []figure{perConnection(atMost(24, "")), resident()},
	})
	for _, n := range []int{1000, 10000} {
		add(row{
			name: fmt.Sprintf("%d idle peers", n), setting: setting{far: farKernel, idlePeers: n}, work: work{Time: time.Second}, fresh: true, few: true, baseline: true, clients: both,
			figures: []figure{perPeer(atMost(8, "")), resident()},
		})
	}
	add(row{
		name: "100 stalled readers", setting: setting{far: farKernel}, work: work{Stall: 100}, fresh: true, few: true, clients: both,
		figures: []figure{resident(atMost(64, "")), residentPeak()},
	})
	return append(all, distanceRows()...)
}

// distanceRows are those with distance, loss and reordering.
func distanceRows() []row {
	var all []row
	add := func(name string, p path, w work, few bool, clients []client, goals ...goal) {
		if w.Time == 0 {
			w.Warm, w.Time = 3*time.Second, 10*time.Second
		}
		all = append(all, row{
			name: name, setting: setting{far: farKernel, path: &p}, work: w, few: few, clients: clients,
			figures: []figure{ofLine(goals...), throughput()},
		})
	}
	three := []client{ours, netTun, kernelTun}
	const ms = time.Millisecond

	long := path{Delay: 50 * ms, Rate: 200e6, Queue: 100 * ms}
	for _, w := range []work{{Upload: 1}, {Download: 1}} {
		w.Warm, w.Time = 5*time.Second, 25*time.Second
		add(direction(w)+", 100 ms, 200 Mbit/s", long, w, true, three, atLeast(90, ""))
	}
	late := path{Delay: 10 * ms, Rate: 500e6, Queue: 20 * ms, Late: 0.0005, LateBy: 3 * ms}
	add("upload, 1 stream, 20 ms, 500 Mbit/s, 0.05 % late by 3 ms", late, work{Upload: 1}, false, three, atLeast(45, ""))
	lossy := path{Delay: 25 * ms, Rate: 100e6, Queue: 50 * ms, Loss: 0.001}
	for _, w := range []work{{Upload: 8}, {Download: 8}} {
		add(direction(w)+", 50 ms, 100 Mbit/s, 0.1 % lost", lossy, w, false, three, atLeast(0.95, kernelTun))
	}
	worse := path{Delay: 10 * ms, Rate: 200e6, Queue: 20 * ms, Loss: 0.01}
	for _, w := range []work{{Upload: 1}, {Download: 1}, {Upload: 8}, {Download: 8}} {
		add(direction(w)+", 20 ms, 200 Mbit/s, 1 % lost", worse, w, false, three, atLeast(1, netTun))
	}
	return all
}

func direction(w work) string {
	if w.Upload > 0 {
		return "upload, " + plural(w.Upload, "stream")
	}
	return "download, " + plural(w.Download, "stream")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
