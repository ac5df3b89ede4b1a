<?php // Nothing but an answer, behind the checkpoint.
regie_checkpoint();
echo 'hello';
