<?php
// The authorization code flow as the guides describe it, with PHP's curl: state, no PKCE, the secret in
// the body. Prints the address for the browser, reads where the browser was sent back to, and goes on.

function setting(string $name): string
{
    return (string) getenv($name);
}

function send(string $path, array $headers, string $body): array
{
    $curl = curl_init(setting('API_BASE_URL') . $path);
    curl_setopt_array($curl, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $headers,
        CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 60]);
    $text = curl_exec($curl);
    if ($text === false) {
        fwrite(STDERR, curl_error($curl) . "\n");
        exit(1);
    }
    return ['status' => curl_getinfo($curl, CURLINFO_RESPONSE_CODE), 'body' => json_decode($text, true) ?? $text];
}

function token(array $form): array
{
    $form += ['client_id' => setting('CLIENT_ID'), 'client_secret' => setting('CLIENT_SECRET')];
    return send('/auth/oauth/token', [], http_build_query($form));
}

function call(string $access): int
{
    return send('/api/query', ["Authorization: Bearer $access", 'Content-Type: application/json'], '{"entity":"products"}')['status'];
}

/** After a 401 the client refreshes and calls again. */
function retry(string $access, string $refresh): array
{
    $first = call($access);
    if ($first !== 401) {
        return [$first];
    }
    return [$first, call(token(['grant_type' => 'refresh_token', 'refresh_token' => $refresh])['body']['access_token'])];
}

$callback = setting('REDIRECT_URI');
$state = bin2hex(random_bytes(16));
$query = http_build_query(['response_type' => 'code', 'client_id' => setting('CLIENT_ID'), 'redirect_uri' => $callback, 'scope' => '', 'state' => $state]);
echo json_encode(['authorize' => setting('API_BASE_URL') . "/auth/oauth/authorize?$query"]), "\n";

parse_str((string) parse_url(trim((string) fgets(STDIN)), PHP_URL_QUERY), $back);
if (!hash_equals($state, $back['state'] ?? '')) {
    fwrite(STDERR, "another state\n");
    exit(1);
}
$answer = token(['grant_type' => 'authorization_code', 'code' => $back['code'], 'redirect_uri' => $callback]);
$tokens = $answer['body'];
$called = call($tokens['access_token']);
// The client keeps its first refresh token, whatever a refresh answers.
$form = ['grant_type' => 'refresh_token', 'refresh_token' => $tokens['refresh_token']];
$refreshed = [call(token($form)['body']['access_token']), call(token($form)['body']['access_token'])];
$revoked = send('/auth/oauth/revoke', ['Authorization: Bearer ' . $tokens['access_token']], '')['status'];
echo json_encode(['members' => array_keys($tokens), 'shown' => array_diff_key($tokens, ['access_token' => 0, 'refresh_token' => 0]),
    'called' => $called, 'refreshed' => $refreshed, 'revoked' => $revoked, 'retried' => retry($tokens['access_token'], $tokens['refresh_token'])]), "\n";
