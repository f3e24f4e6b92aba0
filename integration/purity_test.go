package integration

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// impure are packages of the standard library that a pure package must not
// import, with all below them, and what they would bring in.
var impure = map[string]string{
	"net":         "it opens no socket: datagrams are arguments and results",
	"os":          "it knows no system",
	"syscall":     "it knows no system",
	"runtime":     "it knows no system",
	"sync":        "it has no locks of its own: who calls it decides what runs at the same time",
	"context":     "it waits for nothing",
	"log":         "it returns events, and its caller decides what becomes of them",
	"math/rand":   "its randomness comes from the caller's io.Reader, so that a test can repeat it",
	"crypto/rand": "its randomness comes from the caller's io.Reader, so that a test can repeat it",
}

// harmless are exceptions to impure.
var harmless = []string{"net/netip", "sync/atomic"}

// pureModules are the only modules that a pure package may use.
var pureModules = []string{module + "/", "golang.org/x/crypto/", "github.com/gaissmai/bart"}

func rulePureImports(p *pkg) (complaints []string) {
	if r, _ := rowOf(p.dir); !r.pure {
		return nil
	}
	for _, s := range p.files {
		s.imports(func(spec *ast.ImportSpec, to string) {
			for bad, why := range impure {
				if (to == bad || strings.HasPrefix(to, bad+"/")) && !slices.Contains(harmless, to) {
					complaints = append(complaints, s.at(spec, "%s is pure and may not import %s: %s", p.dir, to, why))
				}
			}
			first, _, _ := strings.Cut(to, "/")
			known := func(m string) bool { return strings.HasPrefix(to, m) }
			if strings.Contains(first, ".") && !slices.ContainsFunc(pureModules, known) {
				complaints = append(complaints, s.at(spec, "%s is pure and may not import %s: the protocol rests on the standard library, x/crypto and bart alone", p.dir, to))
			}
		})
	}
	return complaints
}

// clock are the functions of package time that read a clock or wait for one.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func rulePureCode(p *pkg) (complaints []string) {
	if r, _ := rowOf(p.dir); !r.pure {
		return nil
	}
	for _, s := range p.files {
		s.uses(func(n ast.Node, from, name string) {
			if from == "time" && slices.Contains(clock, name) {
				complaints = append(complaints, s.at(n, "%s is pure and may not call time.%s: the time is an argument, so that a test runs a thousand hours", p.dir, name))
			}
		})
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complaints = append(complaints, s.at(n, "%s is pure and starts no goroutine: its caller owns all of them and can end them", p.dir))
			case *ast.SelectorExpr:
				if n.Sel.Name == "GenerateKey" {
					complaints = append(complaints, s.at(n, "%s is pure and may not call GenerateKey: crypto/ecdh's ignores its reader; read 32 bytes and use NewPrivateKey", p.dir))
				}
			}
			return true
		})
	}
	return complaints
}

// ruleVariables allows package variables that never change: sentinel errors
// and tables. Anything else is state that two users of the package share.
func ruleVariables(p *pkg) (complaints []string) {
	variables := map[string]bool{}
	for _, s := range p.files {
		for _, d := range s.syntax.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, spec := range decl.Specs {
				v := spec.(*ast.ValueSpec)
				for _, name := range v.Names {
					variables[name.Name] = name.Name != "_"
				}
				if v.Names[0].Name != "_" && changeable(s, v) {
					complaints = append(complaints, s.at(v, "%s is a package variable that can change: two users of the package would share it; make it a field", v.Names[0].Name))
				}
			}
		}
	}
	for _, s := range p.files {
		writes(s, func(n ast.Node, name string) {
			if variables[name] {
				complaints = append(complaints, s.at(n, "writes to %s, a package variable: two users of the package would share it; make it a field, or give the local variable another name", name))
			}
		})
	}
	return complaints
}

// changeable reports whether a variable can change without being assigned to:
// it holds a pointer, a channel or a lock. A sync.OnceFunc is allowed: what it
// does belongs to the whole process, and a field would do it again.
func changeable(s *source, v *ast.ValueSpec) bool {
	names, found := s.names(), false
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // what it makes, it makes when it is called
		case *ast.ChanType, *ast.StarExpr:
			found = true
		case *ast.UnaryExpr:
			found = found || n.Op == token.AND
		case *ast.Ident:
			found = found || n.Name == "new" || n.Name == "make"
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				from := names[x.Name]
				found = found || from == "sync" && n.Sel.Name != "OnceFunc" || from == "sync/atomic"
			}
		}
		return !found
	}
	if v.Type != nil {
		ast.Inspect(v.Type, look)
	}
	for _, value := range v.Values {
		ast.Inspect(value, look)
	}
	return found
}

// writes calls f with each statement that writes to a variable, or to part of
// one, and its name. It does not tell a package's variable from a local one of
// the same name.
func writes(s *source, f func(n ast.Node, name string)) {
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		var written []ast.Expr
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				written = n.Lhs
			}
		case *ast.IncDecStmt:
			written = []ast.Expr{n.X}
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				written = []ast.Expr{n.Key, n.Value}
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				written = []ast.Expr{n.X}
			}
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"clear", "copy", "delete"}, x.Name) && len(n.Args) > 0 {
				written = n.Args[:1]
			}
		}
		for _, x := range written {
			if name := variable(x); name != "" {
				f(n, name)
			}
		}
		return true
	})
}

// variable is the variable that an expression is or is part of.
func variable(x ast.Expr) string {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.IndexExpr:
			x = e.X
		case *ast.SliceExpr:
			x = e.X
		case *ast.SelectorExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		default:
			return ""
		}
	}
}
