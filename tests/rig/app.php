<?php
// The application of tests/rig/upstreams.py for php -S.
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$block = str_repeat('0123456789abcdef', 4096);
if ($path === '/large') {
    header('Content-Length: ' . 20 * 1024 * 1024);
    for ($sent = 0; $sent < 320; $sent++) { echo $block; flush(); }
} elseif ($path === '/events') {
    header('Content-Type: text/event-stream');
    for ($number = 0; $number < 5; $number++) { echo "data: $number\n\n"; @ob_flush(); flush(); usleep(300000); }
} elseif ($path === '/die') {
    header('Content-Length: ' . 20 * 1024 * 1024);
    echo $block; @ob_flush(); flush(); usleep(300000); posix_kill(getmypid(), 9);
} elseif ($path === '/same') {
    header('ETag: "e"'); http_response_code(304);
} elseif ($path === '/early') {
    http_response_code(413); echo 'large';
} else {
    echo strlen(file_get_contents('php://input'));
}
