package caddymodule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// query is what an expression of Prometheus refers to.
type query struct {
	metrics map[string][]string // the labels that each is matched by
	groups  []string            // the labels that sums are made by
}

// readQuery finds the names in an expression. It is no parser of PromQL, whose
// own would raise the versions of thirty modules: it knows the words that our
// rules use, and refuses others.
func readQuery(expr string) (query, error) {
	r := queryReader{rest: expr, query: query{metrics: map[string][]string{}}}
	for r.skip(" \n\t"); r.rest != ""; r.skip(" \n\t") {
		if err := r.step(); err != nil {
			return r.query, fmt.Errorf("%w, before %q", err, r.rest)
		}
	}
	return r.query, nil
}

type queryReader struct {
	query
	rest string
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
)

// The words of PromQL that our rules use. A list of labels follows the last ones.
var (
	calls     = []string{"sum", "min", "max", "topk", "rate", "increase", "histogram_quantile", "absent"}
	operators = []string{"and", "or", "unless"}
	grouping  = []string{"by", "without", "on"}
)

func (r *queryReader) skip(set string) { r.rest = strings.TrimLeft(r.rest, set) }

// take cuts off the letters of a set at the front.
func (r *queryReader) take(set string) string {
	n := len(r.rest) - len(strings.TrimLeft(r.rest, set))
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *queryReader) step() error {
	switch c := r.rest[0]; {
	case strings.IndexByte(digits, c) >= 0:
		r.take(digits + ".")
	case c == '[': // a range
		inside, after, closed := strings.Cut(r.rest[1:], "]")
		if !closed || inside == "" {
			return fmt.Errorf("a range that does not end")
		}
		r.rest = after
	case strings.IndexByte("()/*+-<>=,", c) >= 0:
		r.rest = r.rest[1:]
	case strings.IndexByte(letters, c) >= 0:
		return r.word(r.take(letters + digits))
	default:
		return fmt.Errorf("%q is not expected", c)
	}
	return nil
}

func (r *queryReader) word(word string) error {
	r.skip(" \n")
	switch {
	case slices.Contains(operators, word), slices.Contains(calls, word):
		return nil
	case slices.Contains(grouping, word):
		list, after, ok := strings.Cut(strings.TrimPrefix(r.rest, "("), ")")
		if !ok || r.rest[0] != '(' {
			return fmt.Errorf("%s needs labels", word)
		}
		r.rest = after
		for label := range strings.SplitSeq(list, ",") {
			r.groups = append(r.groups, strings.TrimSpace(label))
		}
		return nil
	case strings.HasPrefix(r.rest, "("):
		return fmt.Errorf("%s is no function that is known here", word)
	}
	if _, known := r.metrics[word]; !known {
		r.metrics[word] = nil
	}
	if !strings.HasPrefix(r.rest, "{") {
		return nil
	}
	return r.matchers(word)
}

// matchers reads {label="value",…}.
func (r *queryReader) matchers(metric string) error {
	for r.rest = r.rest[1:]; ; r.rest = r.rest[1:] {
		label := r.take(letters + digits)
		operator := r.take("=!~")
		if label == "" || operator == "" || !strings.HasPrefix(r.rest, `"`) {
			return fmt.Errorf("a matcher of %s is malformed", metric)
		}
		_, after, ok := strings.Cut(r.rest[1:], `"`)
		if !ok || after == "" {
			return fmt.Errorf("a value of %s does not end", metric)
		}
		r.metrics[metric] = append(r.metrics[metric], label)
		if r.rest = after; r.rest[0] == '}' {
			r.rest = r.rest[1:]
			return nil
		}
		if r.rest[0] != ',' {
			return fmt.Errorf("a matcher of %s does not end", metric)
		}
	}
}

// added are the labels that Prometheus adds when it scrapes.
var added = []string{"instance", "job"}

// check fails when a name is not in the scrape: its metrics, with their labels.
func (q query) check(scraped map[string][]string) error {
	all := slices.Clone(added)
	for metric, labels := range q.metrics {
		known, ok := scraped[metric]
		if !ok {
			return fmt.Errorf("a scrape has no %s", metric)
		}
		known = slices.Concat(known, added)
		for _, label := range labels {
			if !slices.Contains(known, label) {
				return fmt.Errorf("%s has no label %s", metric, label)
			}
		}
		all = append(all, known...)
	}
	for _, label := range q.groups {
		if !slices.Contains(all, label) {
			return fmt.Errorf("no metric of this has the label %s", label)
		}
	}
	if len(q.metrics) == 0 {
		return fmt.Errorf("names no metric")
	}
	return nil
}

func TestReadQuery(t *testing.T) {
	scraped := map[string][]string{"a_total": {"x", "y"}, "b_bucket": {"le", "z"}}
	for _, row := range []struct{ expr, want string }{
		{`sum by (x, instance) (rate(a_total{y="1,)",x=~"p|q"}[5m])) > 0.5`, ""},
		{`histogram_quantile(0.9, sum by (le,z) (rate(b_bucket[5m]))) > 1 and a_total == 0`, ""},
		{`absent(a_total)`, ""},
		{`topk(3, sum(increase(a_total{instance=~"$instance"}[$__rate_interval])))`, ""},
		{`rate(c_total[5m])`, "a scrape has no c_total"},
		{`sum(a_total) / c_total`, "a scrape has no c_total"},
		{`a_total{z="1"}`, "a_total has no label z"},
		{`a_total{x="1",z="1"}`, "a_total has no label z"},
		{`sum by (q) (a_total)`, "no metric of this has the label q"},
		{`sum(1)`, "names no metric"},
		{`summ(a_total)`, `summ is no function that is known here, before "(a_total)"`},
		{`a_total{x=1}`, `a matcher of a_total is malformed, before "1}"`},
		{`a_total{x="1}`, `a value of a_total does not end, before "\"1}"`},
		{`a_total[5m`, `a range that does not end, before "[5m"`},
		{`a_total # b`, `'#' is not expected, before "# b"`},
	} {
		q, err := readQuery(row.expr)
		if err == nil {
			err = q.check(scraped)
		}
		if got := fmt.Sprint(err); got != row.want && !(err == nil && row.want == "") {
			t.Errorf("%s: got %s, want %s", row.expr, got, row.want)
		}
	}
}
