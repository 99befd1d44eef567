export { createAuthClient } from "./client.js";
export { AuthError } from "./api.js";
export type {
  ActivityOptions, AuthClient, AuthClientOptions, AuthState, Challenge, Device, EndReason, Events, Session, SessionInfo, SignedOutReason, TokenOptions,
} from "./types.js";
