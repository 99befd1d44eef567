package sns_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/sns"
)

const (
	code, number = "048151", "+46701740605"
	region       = "eu-west-1"
	keyID        = "AKIDEXAMPLE"
	secret       = "hunter2"
)

func message() auth.Message {
	return auth.Message{ID: "c1.1", To: number, Code: code, Text: "Your Acme & Co code is " + code + ".\n\n@a.example #" + code, Channel: "sms"}
}

func provision(s *sns.Sender) error {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	return s.Provision(ctx)
}

func sender(t *testing.T, endpoint string) *sns.Sender {
	t.Helper()
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, t.TempDir()+"/none") // not the developer's
	}
	s := &sns.Sender{
		Region: region, AccessKeyID: keyID, SecretAccessKey: secret, Endpoint: endpoint,
		SenderID: "Acme", OriginationNumber: "+46765190000", MaxPrice: "0.50",
	}
	if err := provision(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const published = `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>` +
	`<MessageId>94f20ce6-13c5-43a0-9a9e-ca52d816e90b</MessageId></PublishResult>` +
	`<ResponseMetadata><RequestId>f187a3c1-376f-11df-8963-01868b7c937a</RequestId></ResponseMetadata></PublishResponse>`

// seen is a request as the fake of AWS got it.
type seen struct {
	r    *http.Request
	body string
}

func fakeAWS(t *testing.T, status int, answer string) (*httptest.Server, *[]seen) {
	t.Helper()
	var got []seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, seen{r, string(body)})
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server, &got
}

// The fields are those of https://docs.aws.amazon.com/sns/latest/api/API_Publish.html, the attributes those of
// https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html.
func TestPublish(t *testing.T) {
	server, got := fakeAWS(t, http.StatusOK, published)
	if err := sender(t, server.URL).Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	one := (*got)[0]
	form, err := url.ParseQuery(one.body)
	if len(*got) != 1 || one.r.Method != http.MethodPost || one.r.URL.Path != "/" || err != nil {
		t.Fatalf("%d requests, %s %s, %v", len(*got), one.r.Method, one.r.URL, err)
	}
	attributes := map[string]string{}
	for i := 1; form.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		entry := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		attributes[form.Get(entry+"Name")] = form.Get(entry+"Value.DataType") + " " + form.Get(entry+"Value.StringValue")
		for _, field := range []string{"Name", "Value.DataType", "Value.StringValue"} {
			form.Del(entry + field)
		}
	}
	want := map[string]string{
		"AWS.SNS.SMS.SMSType": "String Transactional", "AWS.SNS.SMS.SenderID": "String Acme",
		"AWS.MM.SMS.OriginationNumber": "String +46765190000", "AWS.SNS.SMS.MaxPrice": "Number 0.50",
	}
	if fmt.Sprint(attributes) != fmt.Sprint(want) {
		t.Errorf("attributes %v, want %v", attributes, want)
	}
	rest := url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}, "PhoneNumber": {number}, "Message": {message().Text}}
	if form.Encode() != rest.Encode() {
		t.Errorf("got %v, want %v", form, rest)
	}
	if got, want := one.r.Header.Get("Authorization"), authorization(one); got != want {
		t.Errorf("signed\n%s\nwant\n%s", got, want)
	}
}

// authorization signs a request anew, as
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html says.
func authorization(one seen) string {
	_, after, _ := strings.Cut(one.r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ := strings.Cut(after, ",")
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		value := one.r.Header.Get(name)
		switch name {
		case "host":
			value = one.r.Host
		case "content-length":
			value = fmt.Sprint(len(one.body))
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	hash := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	date := one.r.Header.Get("X-Amz-Date")
	scope := date[:8] + "/" + region + "/sns/aws4_request"
	canonical := "POST\n/\n\n" + headers.String() + "\n" + signed + "\n" + hash(one.body)
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hash(canonical)))
	return "AWS4-HMAC-SHA256 Credential=" + keyID + "/" + scope + ", SignedHeaders=" + signed + ", Signature=" + signature
}

// What the errors mean is on https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors and
// https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html.
func TestAnswers(t *testing.T) {
	failure := func(code string) string {
		return `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>` + code + `</Code>` +
			`<Message>Invalid parameter: PhoneNumber Reason: ` + number + ` is not valid, ` + "048151" + `</Message></Error><RequestId>9dd0</RequestId></ErrorResponse>`
	}
	for _, row := range []struct {
		name   string
		status int
		answer string
		want   string
	}{
		{"published", 200, published, ""},
		{"published without an id", 200, `<PublishResponse><PublishResult></PublishResult></PublishResponse>`, "failed"},
		{"a page instead of XML", 200, `{"fine": true}`, "failed"},
		{"no valid number", 400, failure("InvalidParameter"), "refused"},
		{"has opted out", 400, failure("OptedOut"), "refused"},
		{"no permission", 403, failure("AuthorizationError"), "failed"},
		{"a key that is gone", 403, failure("InvalidClientTokenId"), "failed"},
		{"throttled", 429, failure("Throttled"), "failed"},
		{"too many requests", 400, failure("ThrottlingException"), "failed"},
		{"a fault", 500, failure("InternalError"), "failed"},
		{"a 502 of a proxy in between", 502, `Bad Gateway`, "failed"},
		{"a redirect", 307, ``, "failed"},
		{"a redirect to a page", 303, ``, "failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server, got := fakeAWS(t, row.status, row.answer)
			err := sender(t, server.URL).Send(t.Context(), message())
			if outcome(err) != row.want || len(*got) != 1 {
				t.Errorf("%d requests, %v; want %q", len(*got), err, row.want)
			}
			discreet(t, err)
		})
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, caddymodule.ErrRefused):
		return "refused"
	}
	return "failed"
}

func discreet(t *testing.T, err error) {
	t.Helper()
	for _, told := range []string{code, number, number[1:], secret} {
		if err != nil && strings.Contains(err.Error(), told) {
			t.Errorf("the error %q holds %q", err, told)
		}
	}
}

// A server that hangs holds nothing of ours once its time is over, however many
// messages it has, and gets each once.
func TestHangingServerLeavesNoGoroutine(t *testing.T) {
	const messages = 1000
	var calls sync.Map
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client leave
		calls.Store(r.Header.Get("Amz-Sdk-Invocation-Id")+r.Header.Get("Amz-Sdk-Request"), true)
		<-r.Context().Done()
	}))
	server.Start()
	before := runtime.NumGoroutine()
	s := sender(t, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var flying sync.WaitGroup
	for range messages {
		flying.Go(func() {
			err := s.Send(ctx, message())
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			discreet(t, err)
		})
	}
	flying.Wait()
	s.Close()
	server.Close()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	calls.Range(func(key, _ any) bool {
		if text := key.(string); !strings.Contains(text, "attempt=1;") {
			t.Errorf("a message was said again: %s", text)
			return false
		}
		return true
	})
}

func TestProvisionChecks(t *testing.T) {
	t.Setenv("AWS_SECRET", secret)
	for _, row := range []struct {
		json string
		want string // empty: it is taken
	}{
		{`{"region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "{env.AWS_SECRET}", "timeout": 1000000000, "countries": ["SE"]}`, ""},
		{`{"region": "eu-west-1"}`, ""},
		{`{}`, "region is needed"},
		{`{"region": "eu-west-1", "access_key_id": "AKID"}`, "belong together"},
		{`{"region": "eu-west-1", "max_price": "cheap"}`, "max_price must be US dollars"},
		{`{"region": "eu-west-1", "endpoint": "sns"}`, "endpoint must be https:// and a host"},
		{`{"region": "eu-west-1", "secret_access_key": "{env.NOT_SET}", "access_key_id": "AKID"}`, "secret_access_key"},
		{`{"region": "eu-west-1", "timeout": 1}`, "from 100ms to 30s"},
		{`{"region": "eu-west-1", "countries": ["SWE"]}`, "is no country"},
	} {
		s := new(sns.Sender)
		if err := json.Unmarshal([]byte(row.json), s); err != nil {
			t.Fatal(err)
		}
		if err := provision(s); row.want == "" && err != nil || row.want != "" && !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%s: got %v, want %q", row.json, err, row.want)
		}
	}
}
