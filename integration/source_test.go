package integration

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, seen from this package's.
const root = ".."

// module is the module's path, which its own packages' imports start with.
const module = "github.com/wimble-proxy/wimble"

// pkg is the product code of one folder: its files without the tests.
type pkg struct {
	dir   string // from the root, with slashes
	files []*source
}

// source is one parsed file.
type source struct {
	path   string // from the root, with slashes
	fset   *token.FileSet
	syntax *ast.File
}

// parse parses the text of a file.
func parse(name string, text any) (*source, error) {
	s := &source{path: name, fset: token.NewFileSet()}
	file := name
	if text == nil {
		file = filepath.Join(root, filepath.FromSlash(name))
	}
	var err error
	s.syntax, err = parser.ParseFile(s.fset, file, text, parser.SkipObjectResolution)
	return s, err
}

// at is a complaint about a node of the file.
func (s *source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

// imports calls f with each import of the file and its path.
func (s *source) imports(f func(spec *ast.ImportSpec, importPath string)) {
	for _, spec := range s.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			f(spec, p)
		}
	}
}

// names maps the names that imported packages have in the file to their paths.
// A package is taken to be called as the last part of its path, which is true
// of the standard library.
func (s *source) names() map[string]string {
	names := map[string]string{}
	s.imports(func(spec *ast.ImportSpec, p string) {
		name := path.Base(p)
		if strings.HasPrefix(name, "v") && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	})
	return names
}

// uses calls f with each use of a name of an imported package.
func (s *source) uses(f func(n ast.Node, importPath, name string)) {
	names := s.names()
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
				f(sel, names[x.Name], sel.Sel.Name)
			}
		}
		return true
	})
}

// sourceFiles lists the Go files of the module, tests included, by their paths
// from the root. Nested modules, testdata and dot folders are none of it.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() && rel != "." {
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(name) {
				return fs.SkipDir
			}
		}
		if !entry.IsDir() && strings.HasSuffix(name, ".go") {
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return !errors.Is(err, fs.ErrNotExist)
}

// packages parses the module's product code. It opens the files itself: what
// it asked the go command about would be cached, and an old answer is a lie.
func packages(t *testing.T) []*pkg {
	t.Helper()
	byDir := map[string]*pkg{}
	for _, name := range sourceFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		s, err := parse(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(name)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
		}
		byDir[dir].files = append(byDir[dir].files, s)
	}
	var pkgs []*pkg
	for _, p := range byDir {
		pkgs = append(pkgs, p)
	}
	slices.SortFunc(pkgs, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return pkgs
}
