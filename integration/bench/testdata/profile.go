package main

import (
	"bytes"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// init belongs to the bench's builds of cmd/wimble alone, into which -overlay puts this file: the program itself has no
// switch for profiles. SIGUSR2 begins a CPU profile; the next one ends it, and writes one of the heap and then this.
func init() {
	file := os.Getenv("WIMBLE_BENCH_PROFILE")
	toggle := make(chan os.Signal, 1)
	signal.Notify(toggle, syscall.SIGUSR2)
	go func() {
		for range toggle {
			var cpu, heap bytes.Buffer
			must(pprof.StartCPUProfile(&cpu))
			must(os.WriteFile(file+".part", nil, 0o666)) // it has begun
			<-toggle
			pprof.StopCPUProfile()
			must(pprof.WriteHeapProfile(&heap))
			must(os.WriteFile(file+".heap", heap.Bytes(), 0o666))
			must(os.WriteFile(file+".part", cpu.Bytes(), 0o666))
			must(os.Rename(file+".part", file+".cpu")) // whole, as soon as it is seen
		}
	}()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
