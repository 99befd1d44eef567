package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/audit"
)

// book is a log as Caddy writes it.
type book struct {
	chain *audit.Chain
	lines []string
}

func (b *book) write(line json.RawMessage, hash string) {
	b.lines = append(b.lines, fmt.Sprintf(`{"level":"info","msg":"audit","audit":%s,"hash":%q}`, line, hash))
}

func (b *book) tell(t testing.TB, events ...auth.Event) {
	t.Helper()
	for _, e := range events {
		if err := b.chain.Append(e, b.write); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, lines []string, want *audit.Head) audit.Report {
	t.Helper()
	report, err := audit.Verify(strings.NewReader(strings.Join(lines, "\n")), want)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

var at = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

func event(n int) auth.Event {
	return auth.Event{
		Name: auth.EventSessionStarted, At: at.Add(time.Duration(n) * time.Second), UserID: uint64(n),
		SessionID: auth.SessionID{byte(n)}, DeviceID: "<tablet> & co", ClientIP: "192.0.2.1",
	}
}

// twoChains is the audit of a process and of the one after it, with lines of
// others between.
func twoChains(t testing.TB) *book {
	b := &book{chain: audit.NewChain(audit.Head{})}
	b.tell(t, event(1), event(2), event(3))
	b.lines = append(b.lines, `{"level":"info","msg":"something else"}`, "not even JSON")
	b.chain = audit.NewChain(b.chain.Head())
	b.tell(t, event(4), event(5), event(6))
	return b
}

func TestLine(t *testing.T) {
	b := &book{chain: audit.NewChain(audit.Head{})}
	b.tell(t, auth.Event{Name: auth.EventCodeWrong, At: at, Cause: "otp_invalid", Subject: "s", Country: "SE", Channel: "sms"},
		auth.Event{Name: auth.EventTokenRefreshed, At: at, Cause: auth.CauseRotated})
	if len(b.lines) != 1 {
		t.Fatalf("got %d lines, want one: a refresh is none", len(b.lines))
	}
	var line struct{ Audit map[string]any }
	if err := json.Unmarshal([]byte(b.lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	delete(line.Audit, "chain")
	want := map[string]any{
		"at": "2027-01-01T12:00:00Z", "event": "authn_login_fail", "name": "code_wrong", "cause": "otp_invalid",
		"subject": "s", "country": "SE", "channel": "sms", "n": 1.0, "prev": "",
	}
	if fmt.Sprint(line.Audit) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", line.Audit, want)
	}
	b.tell(t, event(42))
	if !strings.Contains(b.lines[1], `"event":"authn_login_success:42"`) {
		t.Errorf("got %s", b.lines[1])
	}
}

func TestWholeAudit(t *testing.T) {
	b := twoChains(t)
	head := b.chain.Head()
	got := verify(t, b.lines, &head)
	if got.Lines != 6 || got.Chains != 2 || len(got.Faults) != 0 || got.Heads[1] != head {
		t.Errorf("got %+v", got)
	}
	// What was written before the log was rotated away need not be there.
	if got := verify(t, b.lines[1:], &head); len(got.Faults) != 0 {
		t.Errorf("without what was rotated away: %v", got.Faults)
	}
}

// Attack: whoever may write to the log hides what they did.
func TestTamperedAudit(t *testing.T) {
	whole := twoChains(t)
	head := whole.chain.Head()
	for _, row := range []struct {
		name   string
		change func(lines []string) []string
		want   string
	}{
		{"a line changed", func(l []string) []string { l[1] = strings.Replace(l[1], "192.0.2.1", "192.0.2.2", 1); return l }, "altered"},
		{"a hash changed", func(l []string) []string { l[1] = strings.Replace(l[1], `"hash":"`, `"hash":"x`, 1); return l }, "altered"},
		{"a line taken away", func(l []string) []string { return slices.Delete(l, 1, 2) }, "is followed by 3"},
		{"two lines in the other order", func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }, "is followed by 3"},
		{"a line twice", func(l []string) []string { return slices.Insert(l, 1, l[0]) }, "is followed by 1"},
		{"half a line", func(l []string) []string { l[1] = l[1][:len(l[1])/2]; return l }, "not whole"},
		{"the last line of the chain before", func(l []string) []string { return slices.Delete(l, 2, 3) }, "is missing"},
		{"the first line of a chain", func(l []string) []string { return slices.Delete(l, 5, 6) }, "begins with line 2"},
		{"the end", func(l []string) []string { return l[:len(l)-1] }, "the end is missing"},
		{"a line made anew, with its hash", func(l []string) []string {
			forged := &book{chain: audit.NewChain(audit.Head{})}
			forged.tell(t, event(9), event(9), event(9))
			from, to := chainOf(forged.lines[1]), chainOf(l[1])
			l[1] = strings.ReplaceAll(forged.lines[1], from, to)
			return l
		}, "altered"},
	} {
		got := verify(t, row.change(slices.Clone(whole.lines)), &head)
		if !slices.ContainsFunc(got.Faults, func(fault string) bool { return strings.Contains(fault, row.want) }) {
			t.Errorf("%s: got %q, want %q", row.name, got.Faults, row.want)
		}
	}
}

func chainOf(line string) string {
	_, rest, _ := strings.Cut(line, `"chain":"`)
	chain, _, _ := strings.Cut(rest, `"`)
	return chain
}

// Whatever a writer changes of a line or of its hash, it shows.
func TestAnyChangeShows(t *testing.T) {
	whole := twoChains(t)
	head := whole.chain.Head()
	rapid.Check(t, func(t *rapid.T) {
		lines := slices.Clone(whole.lines)
		n := rapid.SampledFrom([]int{0, 1, 2, 5, 6, 7}).Draw(t, "line")
		from := strings.Index(lines[n], `"audit":`) + len(`"audit":`)
		to := strings.Index(lines[n], `,"hash":"`)
		if rapid.Bool().Draw(t, "its hash") {
			from, to = to+len(`,"hash":"`), len(lines[n])-len(`"}`)
		}
		text := []byte(lines[n])
		text[rapid.IntRange(from, to-1).Draw(t, "place")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		lines[n] = string(text)
		report, err := audit.Verify(strings.NewReader(strings.Join(lines, "\n")), &head)
		if err == nil && len(report.Faults) == 0 {
			t.Fatalf("unnoticed: %q", text)
		}
	})
}

func TestParallelEventsMakeOneChain(t *testing.T) {
	b := &book{chain: audit.NewChain(audit.Head{})}
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() { b.tell(t, event(n)) })
	}
	all.Wait()
	head := b.chain.Head()
	if got := verify(t, b.lines, &head); got.Lines != 50 || len(got.Faults) != 0 {
		t.Errorf("got %+v", got)
	}
}

func FuzzVerify(f *testing.F) {
	b := twoChains(f)
	f.Add([]byte(strings.Join(b.lines, "\n")))
	f.Add([]byte(`{"audit":null}`))
	f.Add([]byte(`{"audit":{"n":1,"chain":""},"hash":""}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		report, err := audit.Verify(bytes.NewReader(log), nil)
		if err == nil && len(report.Heads) != report.Chains {
			t.Errorf("%d chains with %d heads", report.Chains, len(report.Heads))
		}
	})
}
