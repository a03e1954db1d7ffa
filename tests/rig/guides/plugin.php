<?php
// A plugin as the guides describe it: started with OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET and
// API_BASE_URL, it gets a token and renews it when `expires_in` is over. It never looks at a 401.

final class Api
{
    public int $tokens = 0;
    private string $token = '';
    private float $expires = 0;

    private function post(string $path, string $body, array $headers): array
    {
        $curl = curl_init(getenv('API_BASE_URL') . $path);
        curl_setopt_array($curl, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $headers, CURLOPT_RETURNTRANSFER => true]);
        $text = curl_exec($curl);
        return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $text];
    }

    private function authenticate(): void
    {
        $form = ['grant_type' => 'client_credentials', 'client_id' => getenv('OAUTH_CLIENT_ID'),
            'client_secret' => getenv('OAUTH_CLIENT_SECRET'), 'scope' => 'read write'];
        [$status, $text] = $this->post('/auth/oauth/token', http_build_query($form), ['Content-Type: application/x-www-form-urlencoded']);
        if ($status !== 200) {
            throw new RuntimeException("token: $status $text");
        }
        $token = json_decode($text, true);
        $this->tokens++;
        $this->token = $token['access_token'];
        $this->expires = microtime(true) + $token['expires_in'];
    }

    public function query(): int
    {
        if (microtime(true) >= $this->expires) {
            $this->authenticate();
        }
        $headers = ["Authorization: Bearer {$this->token}", 'Content-Type: application/json'];
        return $this->post('/api/query', json_encode(['entity' => 'orders']), $headers)[0];
    }
}

$api = new Api();
$statuses = [];
for ($until = microtime(true) + (float) (getenv('SECONDS') ?: 5); microtime(true) < $until;) {
    $status = $api->query();
    $statuses[$status] = ($statuses[$status] ?? 0) + 1;
    usleep(20000);
}
echo json_encode(['tokens' => $api->tokens, 'statuses' => $statuses]), "\n";
