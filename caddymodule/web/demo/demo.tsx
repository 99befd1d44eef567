// A session as one tab sees it. Open it in two tabs side by side: what happens in one shows in the other.
import { Fragment, StrictMode, useEffect, useReducer, useRef, useState, type FormEvent, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { createAuthClient, type Events, type Session } from "../client/index.js";
import { AuthProvider, SignedIn, SignedOut, useAuth, usePhoneLogin, useSessions } from "../client/react.js";

const transport = new URLSearchParams(location.search).has("cookie") ? "cookie" : "bearer";
const client = createAuthClient({ transport, storageKey: transport === "cookie" ? "demo_cookie" : "auth_tokens" });

const clock = (at: Date | string): string => new Date(at).toLocaleTimeString();

function App(): ReactNode {
  return (
    <>
      <h1>A session, live</h1>
      <p className="note">
        Open this page in a second tab beside it. Both keep one session: they refresh it once, not twice, and sign out together.{" "}
        {transport === "bearer" ? <a href="?cookie">With the cookie instead</a> : <a href="?">With tokens instead</a>}
      </p>
      <State />
      <SignedOut>
        <SignIn />
      </SignedOut>
      <SignedIn>
        <Upstream />
        <Sessions />
      </SignedIn>
      <Log />
    </>
  );
}

function State(): ReactNode {
  const auth = useAuth();
  return (
    <section aria-live="polite">
      <p className={`status ${auth.status}`}>
        {auth.status}
        {auth.status === "authenticated" && auth.offline && ", offline"}
        {auth.status === "unauthenticated" && auth.reason && `: ${auth.reason}`}
      </p>
      {auth.status === "authenticated" && <Who session={auth.session} />}
    </section>
  );
}

function Who({ session }: { session: Session }): ReactNode {
  return (
    <>
      <dl>
        <dt>User</dt>
        <dd>
          {session.auth_user_id} ({[session.user_type, ...session.user_roles].join(", ")})
        </dd>
        <dt>Session</dt>
        <dd>{session.session_id}</dd>
        <dt>Device</dt>
        <dd>{session.device_id}</dd>
        <dt>Ends</dt>
        <dd>{new Date(session.session_expires_at).toLocaleString()}</dd>
      </dl>
      <p className="actions">
        <button onClick={() => void client.getAccessToken({ force: true }).catch(() => {})} disabled={transport === "cookie"}>
          Refresh now
        </button>
        <button onClick={() => void client.validate()}>Ask the server</button>
        <button onClick={() => void client.logout()}>Sign out</button>
        <button onClick={() => void client.logout({ scope: "all" })}>Sign out everywhere</button>
      </p>
    </>
  );
}

function SignIn(): ReactNode {
  const login = usePhoneLogin();
  const submit = (act: (text: string) => Promise<void>) => (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    void act(String(new FormData(event.currentTarget).get("text")));
  };
  const waiting = login.status === "sending" || login.status === "verifying";
  return (
    <section>
      <h2>Sign in</h2>
      {login.status === "phone" || login.status === "sending" ? (
        <form key="phone" onSubmit={submit(login.sendCode)}>
          <label>
            Phone number
            <input name="text" type="tel" autoComplete="tel" placeholder="+44 7400 123456" required />
          </label>
          <button className="main" disabled={waiting}>
            Send code
          </button>
        </form>
      ) : (
        <form key="code" onSubmit={submit(login.verifyCode)}>
          <label>
            Code (it stands in the terminal)
            <input name="text" inputMode="numeric" autoComplete="one-time-code" autoFocus required />
          </label>
          <button className="main" disabled={waiting}>
            Sign in
          </button>
          <button type="button" onClick={login.reset}>
            Another number
          </button>
        </form>
      )}
      {login.error && (
        <p className="alert" role="alert">
          {login.error.message}
        </p>
      )}
    </section>
  );
}

/** What the app behind the gate hears of the user. */
function Upstream(): ReactNode {
  const [heard, setHeard] = useState<[string, string][]>([]);
  const ask = async (): Promise<void> => {
    const answer = await client.fetch("/hello");
    const rows = (await answer.text()).matchAll(/<tr><td>(.*?)<td><code>(.*?)<\/code>/g); // Trusted Types forbid DOMParser
    setHeard([...rows].map(([, name = "", value = ""]) => [name, value]));
  };
  return (
    <section>
      <h2>What the app behind the gate hears</h2>
      <p>
        <button onClick={() => void ask().catch(() => setHeard([["No answer", ""]]))}>Ask the app</button>
      </p>
      <dl>
        {heard.map(([name, value]) => (
          <Fragment key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </Fragment>
        ))}
      </dl>
    </section>
  );
}

function Sessions(): ReactNode {
  const list = useSessions();
  return (
    <section>
      <h2>Your sessions</h2>
      {list.status === "ready" && (
        <ul>
          {list.sessions.map((s) => (
            <li key={s.session_id}>
              <span>
                {s.device_name || "Unnamed device"} {s.current && <strong>this one</strong>}
              </span>
              <time dateTime={s.last_accessed}>used {clock(s.last_accessed)}</time>
              {!s.current && <button onClick={() => void list.revoke(s.session_id)}>End</button>}
            </li>
          ))}
        </ul>
      )}
      {list.status === "error" && <p className="alert">{list.error.message}</p>}
      <p className="actions">
        <button onClick={() => void list.reload()}>Look again</button>
        <button onClick={() => void list.revokeOthers()}>End the others</button>
      </p>
    </section>
  );
}

const watched: (keyof Events)[] = ["signed-in", "signed-out", "user-switched", "token-refreshed", "refresh-failed", "validated", "idle-warning", "storage-unavailable"];

/** The events of this tab, newest first. */
function Log(): ReactNode {
  const next = useRef(0);
  const [lines, add] = useReducer((old: { id: number; text: string }[], text: string) => [{ id: next.current++, text }, ...old].slice(0, 12), []);
  useEffect(() => {
    const ends = watched.map((name) => client.on(name, () => add(`${clock(new Date())} ${name}`)));
    return () => ends.forEach((end) => end());
  }, []);
  return (
    <section>
      <h2>Events of this tab</h2>
      {lines.length === 0 && <p className="none">None yet.</p>}
      <ol>
        {lines.map((line) => (
          <li key={line.id}>{line.text}</li>
        ))}
      </ol>
    </section>
  );
}

createRoot(document.getElementById("app")!).render(
  <StrictMode>
    <AuthProvider client={client}>
      <App />
    </AuthProvider>
  </StrictMode>,
);
