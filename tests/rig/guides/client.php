<?php
// An API client as the guides describe it, with PHP's curl: `client.php CASE`, settings in the
// environment, one line of JSON per answer. Reads nothing of gatepost but HTTP.

function setting(string $name): string
{
    return (string) getenv($name);
}

/** Sends one request; `continued` says whether a 100 came first, `sent` how much of the body left. */
function send(string $method, string $path, array $headers, array|string|null $body = null): array
{
    $file = tempnam(sys_get_temp_dir(), 'trace');
    $trace = fopen($file, 'w');
    $curl = curl_init(setting('API_BASE_URL') . $path);
    $options = [CURLOPT_CUSTOMREQUEST => $method, CURLOPT_HTTPHEADER => $headers, CURLOPT_RETURNTRANSFER => true,
        CURLOPT_VERBOSE => true, CURLOPT_STDERR => $trace, CURLOPT_TIMEOUT => 60];
    if ($body !== null) {
        $options[CURLOPT_POSTFIELDS] = $body;
    }
    curl_setopt_array($curl, $options);
    $text = curl_exec($curl);
    if ($text === false) {
        fwrite(STDERR, curl_error($curl) . "\n");
        exit(1);
    }
    [$status, $sent] = [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), curl_getinfo($curl, CURLINFO_SIZE_UPLOAD_T)];
    unset($curl);
    fclose($trace);
    $log = file_get_contents($file);
    unlink($file);
    return [
        'status' => $status,
        'body' => json_decode($text, true) ?? $text,
        'expected' => stripos($log, "\nExpect: 100-continue") !== false,
        'continued' => strpos($log, '< HTTP/1.1 100') !== false,
        'sent' => $sent,
    ];
}

function credential(): array
{
    $key = setting('API_KEY');
    return [$key !== '' ? "X-API-Key: $key" : 'Authorization: Bearer ' . setting('ACCESS_TOKEN')];
}

function query(array $credential): array
{
    $body = json_encode(['entity' => 'products', 'filter' => ['stock' => ['gt' => 0]], 'limit' => 10]);
    return send('POST', '/api/query', [...$credential, 'Content-Type: application/json'], $body);
}

/** http_build_query writes `%24filter=stock+gt+0`. */
function encoded(): array
{
    $options = ['$select' => 'id,name,price', '$filter' => "stock gt 0 and name ne 'O''Neil & Söhne'", '$expand' => 'prices($top=1)',
        '$top' => 20, '$orderby' => 'name asc'];
    return send('GET', '/odata/products?' . http_build_query($options), credential());
}

function raw(): array
{
    return send('GET', '/odata/products?$filter=stock%20gt%200&$expand=prices($top=1)&$top=20', credential());
}

function upload(): array
{
    $file = new CURLFile(setting('FILE'), 'text/csv', 'products.csv');
    return send('POST', '/api/import', credential(), ['file' => $file, 'entity' => 'products', 'mapperId' => '42']);
}

function user(): array
{
    return send('GET', '/api/v3/user', ['Authorization: Bearer ' . setting('ACCESS_TOKEN')]);
}

function token(): array
{
    $form = ['grant_type' => 'client_credentials', 'client_id' => setting('CLIENT_ID'), 'client_secret' => setting('CLIENT_SECRET'),
        'scope' => setting('SCOPE')];
    return send('POST', setting('PREFIX') . '/token', ['Content-Type: application/x-www-form-urlencoded'], http_build_query($form));
}

function revoke(): array
{
    return send('POST', setting('PREFIX') . '/revoke', credential());
}

/** The guides' loop: after a 401 the client gets a token and calls again, as often as it takes. */
function retry(string $current, int $tries = 1): array
{
    $answer = query(["Authorization: Bearer $current"]);
    if ($answer['status'] !== 401 || $tries > 5) {
        return [...$answer, 'tries' => $tries];
    }
    return retry(token()['body']['access_token'], $tries + 1);
}

echo json_encode(match ($argv[1]) {
    'query' => query(credential()),
    'encoded' => encoded(),
    'raw' => raw(),
    'upload' => upload(),
    'user' => user(),
    'token' => token(),
    'revoke' => revoke(),
    'retry' => retry(setting('ACCESS_TOKEN')),
}), "\n";
