package api

import (
	"errors"
	"net/http"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// session answers GET /session and GET /session/{session_id}.
func (a *API) session(w http.ResponseWriter, r *http.Request, id string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return a.endedSession(w, r, id, err)
	}
	sid, err := sessionID(id, owner.proof)
	if err != nil {
		return err
	}
	info, err := a.Service.Session(r.Context(), owner.proof, sid)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, inUTC(info))
}

// endedSession shows a genuine credential how its own session ended, and
// nothing else; refused is the answer in all other cases.
func (a *API) endedSession(w http.ResponseWriter, r *http.Request, id string, refused error) error {
	switch code, _, _ := classify(refused, true); code {
	case auth.CodeTokenExpired, auth.CodeSessionExpired, auth.CodeSessionRevoked:
	default:
		return refused
	}
	proof, ok := a.formerOwner(r)
	if !ok || id != "" && id != proof.SessionID.String() {
		return refused
	}
	// Session would count as a use, which an expired token must not be.
	end, _, err := a.Service.Standing(r.Context(), proof.SessionID)
	if err == nil && end == "" {
		return refused
	}
	var info auth.SessionInfo
	if err == nil {
		info, err = a.Service.Session(r.Context(), proof, proof.SessionID)
	}
	if errors.Is(err, auth.Refuse(auth.CodeNotFound)) || errors.Is(err, auth.Refuse(auth.CodeSessionExpired)) {
		return refused // over for so long that its record is gone
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, inUTC(info))
}

// sessions answers GET /sessions.
func (a *API) sessions(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	infos, err := a.Service.Sessions(r.Context(), owner.proof)
	if err != nil {
		return err
	}
	list := make([]auth.SessionInfo, 0, len(infos))
	for _, info := range infos {
		list = append(list, inUTC(info))
	}
	return writeJSON(w, http.StatusOK, struct {
		Sessions []auth.SessionInfo `json:"sessions"`
	}{list})
}

// activity answers POST /session/{session_id}/activity.
func (a *API) activity(w http.ResponseWriter, r *http.Request, id string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	f, err := readOptionalFields(w, r)
	if err != nil {
		return err
	}
	at := f.instant("last_activity_at")
	if f.err != nil {
		return f.err
	}
	sid, err := sessionID(id, owner.proof)
	if err != nil {
		return err
	}
	if err := a.Service.Activity(r.Context(), owner.proof, sid, at); err != nil {
		return err
	}
	return noContent(w)
}

// revoke answers DELETE /sessions/{session_id}.
func (a *API) revoke(w http.ResponseWriter, r *http.Request, id string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	sid, err := sessionID(id, owner.proof)
	if err != nil {
		return err
	}
	if err := a.Service.Revoke(r.Context(), owner.proof, sid); err != nil {
		return err
	}
	if owner.cookie && sid == owner.proof.SessionID {
		a.ClearCookie(w, r)
	}
	return noContent(w)
}

// revokeOthers answers DELETE /sessions.
func (a *API) revokeOthers(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	if err := a.Service.RevokeOthers(r.Context(), owner.proof); err != nil {
		return err
	}
	return noContent(w)
}

// sessionID reads the path's id; without one it is the owner's session. What
// is no id is unknown.
func sessionID(text string, owner auth.Proof) (auth.SessionID, error) {
	if text == "" {
		return owner.SessionID, nil
	}
	id, ok := auth.ParseSessionID(text)
	if !ok {
		return id, auth.Refuse(auth.CodeNotFound)
	}
	return id, nil
}

// inUTC keeps the contract's form of times, wherever the domain read them.
func inUTC(s auth.SessionInfo) auth.SessionInfo {
	s.CreatedAt, s.LastAccessed, s.LastAccessedAt = s.CreatedAt.UTC(), s.LastAccessed.UTC(), s.LastAccessedAt.UTC()
	s.LastActivityAt, s.ExpiresAt = s.LastActivityAt.UTC(), s.ExpiresAt.UTC()
	return s
}
