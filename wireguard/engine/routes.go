package engine

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// routeEdit is a change of AllowedIPs in the making. Whoever routes meanwhile
// goes by the table as it was: a few prefixes copy only what they touch of it,
// many have the whole of it copied once, which a list of 100,000 would else
// take a hundred times as long for.
type routeEdit struct {
	table *bart.Table[*Peer]
	own   bool // the table is a copy that nobody else has yet
}

// To copy the table costs as much as changing one prefix of so many in it,
// besides some that are few in any table.
const (
	prefixesPerChange = 128
	fewChanges        = 16
)

// editRoutes begins a change of about so many prefixes; storeRoutes ends it.
func (e *Engine) editRoutes(changes int) routeEdit {
	table := e.routes.Load()
	if changes > fewChanges && changes > table.Size()/prefixesPerChange {
		return routeEdit{table.Clone(), true}
	}
	return routeEdit{table, false}
}

func (e *Engine) storeRoutes(r routeEdit) { e.routes.Store(r.table) }

func (r *routeEdit) insert(prefix netip.Prefix, p *Peer) {
	if r.own {
		r.table.Insert(prefix, p)
		return
	}
	r.table = r.table.InsertPersist(prefix, p)
}

func (r *routeEdit) remove(prefix netip.Prefix) {
	if r.own {
		r.table.Delete(prefix)
		return
	}
	r.table = r.table.DeletePersist(prefix)
}
