package gate

import (
	"strings"
	"testing"
)

// hardPaths are targets of 4 KiB that ask for as much work as there is.
var hardPaths = map[string]string{
	"slashes":      "/" + strings.Repeat("/", maxHardTarget-2),
	"dots":         strings.Repeat("/..", maxHardTarget/3),
	"single dots":  strings.Repeat("/.", maxHardTarget/2),
	"loose ends":   strings.Repeat("/a.", maxHardTarget/3),
	"params":       strings.Repeat("/;", maxHardTarget/2),
	"backslashes":  strings.Repeat(`\a`, maxHardTarget/2),
	"escapes":      "/" + strings.Repeat("%41", maxHardTarget/3-1),
	"bad escapes":  "/" + strings.Repeat("%zz", maxHardTarget/3-1),
	"percents":     "/" + strings.Repeat("%", maxHardTarget-1),
	"twice":        "/" + strings.Repeat("%2541", maxHardTarget/5-1),
	"lookalikes":   "/" + strings.Repeat("\uff0e", maxHardTarget/3-1),
	"leaders":      "/" + strings.Repeat("\u2026", maxHardTarget/3-1),
	"letters":      "/;" + strings.Repeat("\u212a", maxHardTarget/3-1),
	"no UTF-8":     "/;" + strings.Repeat("%ff", maxHardTarget/3-1),
	"all at once":  strings.Repeat(`/a.;%2e\//%252f`, maxHardTarget/15),
	"controls":     "/" + strings.Repeat("%00", maxHardTarget/3-1),
	"encoded dots": strings.Repeat("/%2e%2e", maxHardTarget/7),
	"encoded":      strings.Repeat("%2f", maxHardTarget/3),
}

// BenchmarkOddPath measures what a stranger can make the gate do for one
// request to a site of twenty rules.
func BenchmarkOddPath(b *testing.B) {
	g := newGate(b, &fake{}, func(c *Config) {
		for range 18 {
			c.Require = append(c.Require, Rule{Paths: []string{"/nowhere/*"}})
		}
	})
	for name, target := range hardPaths {
		b.Run(name, func(b *testing.B) {
			r := pathRequest(target)
			b.ReportAllocs()
			for b.Loop() {
				g.Own(r)
				_ = g.requirements(r, func(rule) error { return nil })
			}
		})
	}
}
