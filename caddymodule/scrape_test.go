package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/nyaruka/phonenumbers"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// scrapeOwn reads our own metrics of this process, without their prefix.
func scrapeOwn(t *testing.T) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := caddymodule.Meters.Register(r); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "caddy_sidegate_") + labelsOf(m)
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// labelsOf writes labels as Prometheus does.
func labelsOf(m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, l.GetName()+"="+strconv.Quote(l.GetValue()))
	}
	if labels == nil {
		return ""
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// scrape is what a real Caddy answers to Prometheus: the labels of each metric
// that a query can name, and how many series there are.
type scrape struct {
	labels map[string][]string
	series int
	own    map[string]bool // families of ours
}

// scrapeOf reads the endpoint of a site that has the line metrics.
func scrapeOf(t *testing.T, address string) scrape {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	s := scrape{labels: map[string][]string{}, own: map[string]bool{}}
	for name, f := range families {
		s.own[name] = strings.HasPrefix(name, "caddy_sidegate_")
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if f.GetType() != dto.MetricType_HISTOGRAM {
				s.labels[name] = labels
				s.series++
				continue
			}
			s.labels[name+"_bucket"] = append([]string{"le"}, labels...)
			s.labels[name+"_sum"], s.labels[name+"_count"] = labels, labels
			s.series += len(m.GetHistogram().GetBucket()) + 2
		}
	}
	return s
}

// observed runs a site that is scraped, with all that is counted: several
// senders of which one fails, a webhook, limits, and Caddy's own metrics. More
// lines come first in the global block.
func observed(t *testing.T, more ...string) (s *site, metrics string, receiver *app) {
	t.Helper()
	t.Setenv("EVENT_SECRET", eventSecret)
	s, metrics, receiver = newSite(t), freeAddress(t), newApp(t)
	const limits = "limits {\nphone_sends 3/1h\nip_sends off\nprefix_sends off\nip_failures off\nip_countries off\nglobal_sends off\nprefix_unverified off\ncountry_unverified off\nglobal_unverified off\n}\n"
	config := s.config(strings.Join(more, "\n")+"\nsender exec false\n"+receiver.notify("events *")+limits, "", "")
	config = strings.Replace(config, "sender file", "sender exec false {\ncountries DE FR\n}\nsender file", 1)
	config = strings.Replace(config, "grace_period 5s", "grace_period 5s\n\tmetrics", 1)
	s.load(config + "\nhttp://" + metrics + " {\n\tbind 127.0.0.1\n\tmetrics\n}\n")
	t.Cleanup(func() { _ = caddy.Stop() })
	return s, metrics, receiver
}

// use has a person do what people and attackers do.
func (s *site) use(phone string) {
	s.t.Helper()
	challenge := s.start(phone)
	code := s.codeOf(challenge)
	verify := func(code string) reply {
		return s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": code})
	}
	verify(strings.Map(func(c rune) rune { return '0' + (c-'0'+1)%10 }, code))
	own := s.tokens(verify(code))
	for range 3 {
		wants(s.t, "app", s.do("GET", "/app", nil, "Authorization", bearer(own)), 200, "")
	}
	first := own.Refresh
	for range 3 {
		own = s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}))
		wants(s.t, "app", s.do("GET", "/app", nil, "Authorization", bearer(own)), 200, "")
	}
	wants(s.t, "reuse", s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": first}), 400, "refresh_token_reused")
	for range 3 {
		s.do("POST", apiPath+"/otp", map[string]any{"phone": phone}) // the last one too many
	}
}

// The rules for alerts and the dashboard name only what a scrape has.
func TestAlertsAndDashboard(t *testing.T) {
	s, metrics, receiver := observed(t)
	s.use("+46701234567")
	waitFor(t, "the webhook", func() bool { return receiver.asked.Load() > 0 })
	got := scrapeOf(t, metrics)
	page := readPage(t, "../docs/metrics.md")

	rules := readRules(t)
	for _, rule := range rules {
		q, err := readQuery(rule.Expr)
		if err == nil {
			err = q.check(got.labels)
		}
		if err == nil {
			err = q.names(rule.Annotations["summary"])
		}
		if err != nil {
			t.Errorf("alert %s: %v", rule.Alert, err)
		}
		if want := "docs/metrics.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want || !strings.Contains(page, "\n### "+rule.Alert+"\n") {
			t.Errorf("alert %s: docs/metrics.md does not say what to do", rule.Alert)
		}
	}
	panels := readPanels(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			q, err := readQuery(target.Expr)
			if err == nil {
				err = q.check(got.labels)
			}
			if err == nil {
				err = q.names(target.LegendFormat)
			}
			if err != nil {
				t.Errorf("panel %s: %v", p.Title, err)
			}
		}
	}
	if len(rules) < 10 || len(panels) < 10 {
		t.Errorf("found %d alerts and %d panels", len(rules), len(panels))
	}
}

// shown are the labels that a text for people shows.
var shown = regexp.MustCompile(`\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}`)

// names fails when a text shows a label that the query's answer has not.
func (q query) names(text string) error {
	for _, label := range shown.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(q.groups, label[1]) {
			return fmt.Errorf("%q shows %s, which the sum has not", text, label[1])
		}
	}
	return nil
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(readPage(t, "../docs/alerts.yml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

type panel struct {
	Title   string
	Targets []struct{ Expr, LegendFormat string }
}

func readPanels(t *testing.T) []panel {
	t.Helper()
	var board struct{ Panels []panel }
	if err := json.Unmarshal([]byte(readPage(t, "../docs/grafana.json")), &board); err != nil {
		t.Fatal(err)
	}
	return board.Panels
}

var documented = regexp.MustCompile("(?m)^\\| `(caddy_sidegate_[a-z_]+)` \\|([^|]*)\\|")

// docs/metrics.md has every metric with its labels, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	s, metrics, receiver := observed(t)
	s.use("+46701234567")
	waitFor(t, "the webhook", func() bool { return receiver.asked.Load() > 0 })
	got := scrapeOf(t, metrics)
	found := map[string]bool{}
	for _, row := range documented.FindAllStringSubmatch(readPage(t, "../docs/metrics.md"), -1) {
		name := row[1]
		found[name] = true
		labels, ok := got.labels[name]
		if !ok {
			labels, ok = got.labels[name+"_count"]
		}
		var said []string
		for _, label := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[2], -1) {
			said = append(said, label[1])
		}
		slices.Sort(labels)
		if slices.Sort(said); !ok || !slices.Equal(said, labels) {
			t.Errorf("docs/metrics.md: %s has the labels %v, a scrape %v", name, said, labels)
		}
	}
	for name, own := range got.own {
		if own && !found[name] {
			t.Errorf("docs/metrics.md does not explain %s", name)
		}
	}
}

func TestEveryEventIsDocumented(t *testing.T) {
	_, table, _ := strings.Cut(readPage(t, "../docs/metrics.md"), "\n## Events\n")
	for _, name := range auth.EventNames {
		if !strings.Contains(table, "`"+string(name)+"`") {
			t.Errorf("docs/metrics.md does not explain the event %s", name)
		}
	}
}

// Under load a scrape stays small: people of every country there is, on every
// channel, by senders that do this and that, and strangers who try to make it
// grow.
func TestScrapeUnderLoadIsSmall(t *testing.T) {
	gateway := moody(t)
	s, metrics, _ := observed(t, fmt.Sprintf(`otp {
		allow_countries *
	}
	sender webhook %[1]s/a {
		channels sms voice whatsapp
	}
	sender webhook %[1]s/b {
		channels sms voice whatsapp
	}`, gateway))
	var load sync.WaitGroup
	for n := range 4 {
		load.Go(func() {
			for i := range 10 {
				s.use(fmt.Sprintf("+4670123%02d%02d", n, i))
			}
		})
	}
	phones := make(chan string, 1000)
	var asked atomic.Int32
	for range 8 {
		load.Go(func() {
			for phone := range phones {
				for _, channel := range []string{"sms", "voice", "whatsapp"} {
					if s.do("POST", apiPath+"/otp", map[string]any{"phone": phone, "channel": channel}).status == 202 {
						asked.Add(1)
					}
				}
			}
		})
	}
	for region := range phonenumbers.GetSupportedRegions() {
		if number := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE); number != nil {
			phones <- phonenumbers.Format(number, phonenumbers.E164)
		}
	}
	close(phones)
	load.Wait()
	for n := range 200 {
		s.do("POST", fmt.Sprintf("%s/%d", apiPath, n), map[string]any{"phone": n})
		s.do("GET", fmt.Sprintf("/app/%d", n), nil, "Authorization", fmt.Sprint("Bearer ", n), "X-Tenant", fmt.Sprint(n))
	}
	got := scrapeOf(t, metrics)
	t.Logf("%d series, after %d codes to all countries", got.series, asked.Load())
	if asked.Load() < 500 || got.series < 1000 {
		t.Errorf("%d codes and %d series: the load was too thin to prove anything", asked.Load(), got.series)
	}
	if got.series >= 2000 {
		t.Errorf("%d series", got.series)
	}
}

// moody is a gateway for messages that takes some, refuses others, and fails
// now and then, never three times in a row.
func moody(t *testing.T) (url string) {
	var n atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader([]int{200, 500, 400, 200, 422}[n.Add(1)%5])
	}))
	t.Cleanup(gateway.Close)
	return gateway.URL
}

// No label holds what belongs to a person.
func TestMetricsNameNobody(t *testing.T) {
	s, metrics, _ := observed(t)
	s.use("+46701234567")
	own := s.signIn("+46701234568")
	resp, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "webhook 127.0.0.1", "webhook")) {
		for _, secret := range []string{"4670123", own.SessionID, own.DeviceID, "127.0.0.1"} {
			if labels, _, _ := strings.Cut(line, "} "); strings.HasPrefix(line, "caddy_sidegate_") && strings.Contains(labels, secret) {
				t.Errorf("a label names %s: %s", secret, line)
			}
		}
	}
}
