package caddymodule

import (
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/api"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// invite tells senders where their providers can report. It needs a public
// origin, with TLS: the address names a challenge. And it needs one path of the
// api: of several, nobody can say which the origin's site has.
func (a *App) invite() {
	reporters := slices.DeleteFunc(slices.Clone(a.senders), func(s sender.Sender) bool {
		_, is := s.(sender.Reporter)
		return !is
	})
	if len(reporters) == 0 || !strings.HasPrefix(a.Origin, "https://") {
		return
	}
	slices.Sort(a.apis)
	paths := slices.Compact(a.apis)
	if len(paths) != 1 {
		a.log.Warn("providers cannot report what became of a message: the sites have different api paths, and only one can be told them", "api", paths)
		return
	}
	for _, s := range reporters {
		s.(sender.Reporter).ReportTo(a.Origin + paths[0] + "/status/" + s.Name())
	}
}

// readReport finds the sender whose provider has signed a report: there may be
// several of one kind, each with its own account.
func (a *App) readReport(name string, d api.Dispatch) (auth.Report, bool) {
	for _, s := range a.senders {
		if r, is := s.(sender.Reporter); is && s.Name() == name {
			if report, ok := r.ReadReport(d.Query, d.Header, d.Form); ok {
				return report, true
			}
		}
	}
	return auth.Report{}, false
}
