<?php // regie_unchanged() says of no change that there is none, and sees that plain objects are as they were.
require_once __DIR__ . '/executor.php';

class Base
{
    private $hidden = 'base';
    protected array $list = [1, 'two'];

    public function hide($value): void
    {
        $this->hidden = $value;
    }
}

class Thing extends Base
{
    private $hidden = 'thing';
    public ?object $other = null;
    public int $unset;
    public readonly int $once;
    public $shared;

    public function write(string $name, $value): void
    {
        $this->$name = $value;
    }

    public function drop(string $name): void
    {
        unset($this->$name);
    }

    public function once(): void
    {
        $this->once = 1;
    }
}

behave(function () {
    $changes = [
        'nothing' => fn (Thing $thing) => null,
        'written with the same' => fn (Thing $thing) => $thing->write('list', [1, 'two']),
        'private' => fn (Thing $thing) => $thing->write('hidden', 'other'),
        'private of the parent' => fn (Thing $thing) => $thing->hide('other'),
        'type' => fn (Thing $thing) => $thing->write('list', ['1', 'two']),
        'order' => fn (Thing $thing) => $thing->write('list', [1 => 'two', 0 => 1]),
        'other object' => fn (Thing $thing) => $thing->other = new stdClass(),
        'initialized' => fn (Thing $thing) => $thing->unset = 0,
        'readonly' => fn (Thing $thing) => $thing->once(),
        'gone' => fn (Thing $thing) => $thing->drop('other'),
        'dynamic' => fn (Thing $thing) => @$thing->added = 1,
        'through a reference' => function (Thing $thing) {
            $shared = &$thing->shared;
            $shared = 'changed';
        },
        'a reference alone' => function (Thing $thing) {
            $shared = &$thing->shared;
        },
    ];
    $wrong = $seen = [];
    foreach ($changes as $name => $change) {
        $thing = new Thing();
        $then = [];
        foreach ((array) $thing as $key => $value) {
            $then[$key] = $value;
        }
        $change($thing);
        $same = (array) $thing === $then;
        $says = regie_unchanged($thing, $then);
        if ($says && !$same) {
            $wrong[] = $name;
        }
        if ($says) {
            $seen[] = $name;
        }
    }
    $closure = fn () => 1;
    foreach ([new ArrayObject([1]), new DateTime(), $closure] as $internal) {
        if (regie_unchanged($internal, (array) $internal)) {
            $seen[] = $internal::class;
        }
    }
    echo $wrong ? 'wrong: ' . implode(', ', $wrong) : implode(', ', $seen);
});
