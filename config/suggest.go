package config

import (
	"fmt"
	"strings"
)

// unknown is the error for a name that no key or section of a file has. It is
// shown when it is harmless or nearly a known one.
func unknown(place Place, kind, name string, known []string, harmless bool) error {
	e := &Error{At: place, Cause: fmt.Errorf("unknown %s %.40q", kind, name)}
	if guess := suggest(name, known); guess != "" {
		e.Remedy = "did you mean " + guess + "?"
		return e
	}
	if !harmless {
		e.Cause = fmt.Errorf("unknown %s (not shown, it may be a key)", kind)
	}
	e.Remedy = "known here: " + strings.Join(known, ", ")
	return e
}

// isHarmless reports whether name is a word that is unlike a key or a good part
// of one, and may be shown: short, and without a digit but at its end.
func isHarmless(name string) bool {
	const longest = 24
	if name == "" || len(name) > longest {
		return false
	}
	letters := strings.TrimRight(name, "0123456789")
	for i := range len(letters) {
		if !isWord(letters[i]) || '0' <= letters[i] && letters[i] <= '9' {
			return false
		}
	}
	return true
}

// suggest is the word that a misspelt one was most likely meant to be, or "".
// Case, "-" and "_" do not count, so that the spelling of another format leads
// to the right word.
func suggest(misspelt string, words []string) string {
	plain := strings.NewReplacer("_", "", "-", "")
	misspelt = strings.ToLower(plain.Replace(misspelt))
	best, nearest := "", 3
	for _, word := range words {
		if len(misspelt) >= len(word)+nearest {
			continue // Nor is it worth the time, however long it is.
		}
		d := distance(misspelt, strings.ToLower(plain.Replace(word)))
		// Of a short word, two mistakes leave nothing.
		if d < nearest && 2*d < len(word) {
			best, nearest = word, d
		}
	}
	return best
}

// distance is the least number of characters to insert, remove, replace or
// swap with their neighbour that make one word of the other (optimal string
// alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
